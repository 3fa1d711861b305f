#include "collectives/child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>

extern char** environ;

namespace shoal::bench {
namespace {

// Those of Open MPI and its launchers: another MPI would take itself for a rank of ours.
bool tells_a_rank(std::string_view variable) {
  for (const std::string_view prefix : {"OMPI_", "PMIX_", "PMI_", "PRTE_", "ORTE_", "HYDRA_",
                                        "SLURM_"}) {
    if (variable.starts_with(prefix)) return true;
  }
  return false;
}

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  const std::size_t begin = text.rfind('\n');
  return begin == std::string::npos ? text : text.substr(begin + 1);
}

// Two pipes and what has come through them.
class Output {
 public:
  Output() {
    for (auto& pair : pipes_) {
      if (pipe2(pair, O_CLOEXEC) != 0) pair[0] = pair[1] = -1;
    }
  }
  ~Output() {
    for (auto& pair : pipes_) {
      for (const int end : pair) {
        if (end >= 0) close(end);
      }
    }
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  bool good() const { return pipes_[0][0] >= 0 && pipes_[1][0] >= 0; }
  int write_end(int which) const { return pipes_[which][1]; }
  void close_write_ends() {
    for (auto& pair : pipes_) {
      close(pair[1]);
      pair[1] = -1;
    }
  }
  /// Takes what comes within `milliseconds`; false once both are closed.
  bool take(int milliseconds) {
    pollfd waiting[2] = {{pipes_[0][0], POLLIN, 0}, {pipes_[1][0], POLLIN, 0}};
    if (poll(waiting, 2, milliseconds) <= 0) return true;
    for (int which = 0; which < 2; ++which) {
      if (pipes_[which][0] < 0 || waiting[which].revents == 0) continue;
      char bytes[4096];
      const ssize_t got = read(pipes_[which][0], bytes, sizeof bytes);
      if (got > 0) {
        text[which].append(bytes, static_cast<std::size_t>(got));
      } else if (got == 0) {
        close(pipes_[which][0]);
        pipes_[which][0] = -1;
      }
    }
    return pipes_[0][0] >= 0 || pipes_[1][0] >= 0;
  }

  std::string text[2];

 private:
  int pipes_[2][2];
};

// In the child, between fork and exec: only what is safe there.
[[noreturn]] void become(char* const* arguments, char* const* environment, const Output& output,
                         bool any_core) {
  setpgid(0, 0);
  if (any_core) {
    cpu_set_t all;
    std::memset(&all, 0xff, sizeof all);
    sched_setaffinity(0, sizeof all, &all);  // the kernel leaves out what is not allowed
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(output.write_end(0), STDOUT_FILENO);
  dup2(output.write_end(1), STDERR_FILENO);
  execvpe(arguments[0], arguments, environment);
  _exit(127);
}

// A program and what it has started, until it has ended.
class Running {
 public:
  explicit Running(pid_t child) : child_(child) {}
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running() {
    kill(-child_, SIGKILL);  // also what it may have left behind
    if (!ended_) waitpid(child_, &status_, 0);
  }
  bool ended() { return ended_ = ended_ || waitpid(child_, &status_, WNOHANG) == child_; }
  int status() const { return status_; }

 private:
  const pid_t child_;
  bool ended_ = false;
  int status_ = 0;
};

}  // namespace

ChildResult run_child(const std::vector<std::string>& command, Seconds patience, bool any_core,
                      const std::function<void()>& meanwhile) {
  using Clock = std::chrono::steady_clock;
  ChildResult result;
  Output output;
  if (!output.good()) {
    result.problem = std::strerror(errno);
    return result;
  }
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!tells_a_rank(*variable)) environment.push_back(*variable);
  }
  environment.push_back(nullptr);

  const pid_t child = fork();
  if (child < 0) {
    result.problem = std::strerror(errno);
    return result;
  }
  if (child == 0) become(arguments.data(), environment.data(), output, any_core);
  setpgid(child, child);
  output.close_write_ends();
  constexpr std::chrono::seconds between_calls{5};
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(patience);
  auto next_call = Clock::now() + between_calls;
  bool open = true;
  int status = 0;
  {
    Running program(child);
    while (!program.ended()) {
      if (open) {
        open = output.take(20);
      } else {
        usleep(2000);
      }
      if (Clock::now() > deadline) {
        result.problem =
            "it did not end within " + std::to_string(static_cast<long>(patience.count())) + " s";
        return result;
      }
      if (meanwhile && Clock::now() > next_call) {
        meanwhile();
        next_call = Clock::now() + between_calls;
      }
    }
    status = program.status();
  }
  while (open && Clock::now() < deadline) open = output.take(20);
  result.output = output.text[0];
  result.good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!result.good) {
    result.problem = last_line(output.text[1]);
    if (result.problem.empty()) result.problem = "it failed";
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) result.problem = "it is not installed";
  }
  return result;
}

}  // namespace shoal::bench
