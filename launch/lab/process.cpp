#include "process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <thread>

#include <shoal/runtime/error.hpp>

#include "descriptor.hpp"

extern char** environ;

namespace shoal::launch::lab {
namespace {

constexpr Seconds program_limit{20.0};

// A file in memory: unlike a pipe it takes any amount without anybody reading.
Descriptor memory_file(const std::string& content) {
  Descriptor file(memfd_create("shoal-lab", MFD_CLOEXEC));
  if (!file) throw Error("lab", std::string("memfd_create: ") + std::strerror(errno));
  std::size_t written = 0;
  while (written < content.size()) {
    const ssize_t n = write(file.get(), content.data() + written, content.size() - written);
    if (n < 0 && errno != EINTR) throw Error("lab", std::string("write: ") + std::strerror(errno));
    if (n > 0) written += static_cast<std::size_t>(n);
  }
  lseek(file.get(), 0, SEEK_SET);
  return file;
}

std::string one_line(int fd) {
  std::string text;
  char block[4096];
  lseek(fd, 0, SEEK_SET);
  for (ssize_t n = 0; (n = read(fd, block, sizeof block)) > 0;) {
    text.append(block, static_cast<std::size_t>(n));
  }
  std::istringstream words(text);
  std::string line;
  for (std::string word; words >> word;) line += (line.empty() ? "" : " ") + word;
  return line;
}

}  // namespace

Child::~Child() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

bool Child::ended() {
  if (pid_ <= 0) return true;
  int raw = 0;
  const pid_t got = waitpid(pid_, &raw, WNOHANG);
  if (got == 0 || (got < 0 && errno == EINTR)) return false;
  status_ = WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw);
  pid_ = -1;
  return true;
}

bool Child::wait(Seconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  auto nap = std::chrono::microseconds(200);
  while (!ended()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(nap);
    if (nap < std::chrono::milliseconds(10)) nap *= 2;
  }
  return true;
}

Outcome run_program(const std::vector<std::string>& words, const std::string& input) {
  const Descriptor in = memory_file(input);
  const Descriptor errors = memory_file("");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.get(), STDIN_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, errors.get(), STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = -1;
  const int problem =
      posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (problem != 0) {
    throw Error("lab", "cannot start " + words[0] + ": " + std::strerror(problem),
                "install iproute2 and util-linux");
  }
  Child child(pid);
  if (!child.wait(program_limit)) {
    throw Error("lab", words[0] + " did not end within " +
                           std::to_string(static_cast<int>(program_limit.count())) + " s");
  }
  return {child.status(), one_line(errors.get())};
}

void require_program(const std::string& operation, const std::vector<std::string>& words,
                     const std::string& input) {
  const Outcome outcome = run_program(words, input);
  if (outcome.status == 0) return;
  throw Error(operation, outcome.errors.empty()
                             ? words[0] + " ended with status " + std::to_string(outcome.status)
                             : outcome.errors);
}

bool program_exists(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (access((std::filesystem::path(folder) / name).c_str(), X_OK) == 0) return true;
  }
  return false;
}

}  // namespace shoal::launch::lab
