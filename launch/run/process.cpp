#include "process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>

#include <shoal/runtime/error.hpp>

namespace shoal::launch {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  Descriptor read, write;
};

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Error("launch", std::strerror(errno));
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

int status_of(int raw) { return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw); }

// Between fork and exec: only what is safe there. Does not return; the reason goes to `report`.
[[noreturn]] void become(char* const* words, const Variables& environment, int out, int err,
                         int report, pid_t parent) {
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  if (isatty(STDIN_FILENO) != 0) {
    // A process group in the background would be stopped for reading from the terminal.
    const int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) dup2(nothing, STDIN_FILENO);
  }
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  execvp(words[0], words);
  const int reason = errno;
  if (write(report, &reason, sizeof reason) < 0) _exit(126);
  _exit(127);
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    close();
    value_ = std::exchange(other.value_, -1);
  }
  return *this;
}

void Descriptor::close() noexcept {
  if (value_ >= 0) ::close(value_);
  value_ = -1;
}

void Descriptor::read_into(std::string& text) {
  char buffer[16384];
  const ssize_t count = read(value_, buffer, sizeof buffer);
  if (count > 0) {
    text.append(buffer, static_cast<std::size_t>(count));
  } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
    close();
  }
}

ChildProcess::ChildProcess(const Words& words, const Variables& environment) {
  Pipe out = make_pipe();
  Pipe err = make_pipe();
  Pipe report = make_pipe();
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) throw Error("launch", std::string("fork: ") + std::strerror(errno));
  if (pid_ == 0) {
    become(arguments.data(), environment, out.write.get(), err.write.get(), report.write.get(),
           parent);
  }
  setpgid(pid_, pid_);  // whoever comes first; signals may be sent from now on
  report.write.close();
  int reason = 0;
  ssize_t count = 0;
  do {
    count = read(report.read.get(), &reason, sizeof reason);
  } while (count < 0 && errno == EINTR);
  if (count == sizeof reason) {
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
    throw Error("launch", words[0] + ": " + std::strerror(reason),
                reason == ENOENT ? "install it, or put its folder into PATH" : "");
  }
  output_ = std::move(out.read);
  errors_ = std::move(err.read);
  fcntl(output_.get(), F_SETFL, O_NONBLOCK);
  fcntl(errors_.get(), F_SETFL, O_NONBLOCK);
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0) return;
  signal_group(SIGKILL);
  if (!status_) waitpid(pid_, nullptr, 0);
}

void ChildProcess::signal(int number) const noexcept {
  if (pid_ > 0 && !status_) kill(pid_, number);
}

void ChildProcess::signal_group(int number) const noexcept {
  if (pid_ > 0) kill(-pid_, number);
}

std::optional<int> ChildProcess::status() {
  int raw = 0;
  if (!status_ && waitpid(pid_, &raw, WNOHANG) == pid_) status_ = status_of(raw);
  return status_;
}

std::vector<Captured> capture_all(const std::vector<Words>& programs, std::chrono::seconds limit) {
  const auto deadline = Clock::now() + limit;
  std::vector<Captured> results(programs.size());
  std::vector<std::unique_ptr<ChildProcess>> children(programs.size());
  for (std::size_t i = 0; i < programs.size(); ++i) {
    try {
      children[i] = std::make_unique<ChildProcess>(programs[i], Variables{});
    } catch (const Error& error) {
      results[i] = {127, "", error.message()};
    }
  }
  for (;;) {
    std::vector<pollfd> waiting;
    bool running = false;
    for (std::size_t i = 0; i < children.size(); ++i) {
      if (!children[i]) continue;
      ChildProcess& child = *children[i];
      if (child.output().is_open()) child.output().read_into(results[i].output);
      if (child.errors().is_open()) child.errors().read_into(results[i].errors);
      const bool open = child.output().is_open() || child.errors().is_open();
      const std::optional<int> status = child.status();
      if (status && !open) {
        results[i].status = *status;
        children[i].reset();
        continue;
      }
      running = true;
      if (child.output().is_open()) waiting.push_back({child.output().get(), POLLIN, 0});
      if (child.errors().is_open()) waiting.push_back({child.errors().get(), POLLIN, 0});
    }
    if (!running) return results;
    if (Clock::now() >= deadline) break;
    poll(waiting.data(), waiting.size(), 20);
  }
  for (std::size_t i = 0; i < children.size(); ++i) {
    if (!children[i]) continue;
    // Done, but something it started holds its output open.
    results[i].status = children[i]->status().value_or(-1);
  }
  return results;
}

Captured capture(const Words& program, std::chrono::seconds limit) {
  return capture_all({program}, limit).front();
}

std::string shell_line(const Words& words) {
  constexpr const char* plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty()) line += ' ';
    if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

void adopt_orphans() { prctl(PR_SET_CHILD_SUBREAPER, 1); }

int kill_orphans() {
  int killed = 0;
  const std::string list =
      "/proc/self/task/" + std::to_string(getpid()) + "/children";  // of the main thread
  const auto deadline = Clock::now() + std::chrono::seconds(5);
  for (;;) {
    int raw = 0;
    pid_t ended = 0;
    while ((ended = waitpid(-1, &raw, WNOHANG)) > 0) {
    }
    if (ended < 0 || Clock::now() > deadline) return killed;
    // The children of a killed process become ours: look again until nobody is left.
    std::ifstream children(list);
    for (pid_t pid = 0; children >> pid;) {
      if (kill(pid, SIGKILL) == 0) ++killed;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace shoal::launch
