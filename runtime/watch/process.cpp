#include "watch/process.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace shoal::watch {
namespace {

std::uint64_t start_ticks_of(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  // The name in parentheses may hold anything; the start time is the 20th field after it.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int i = 0; i < 20; ++i) fields >> field;
  std::uint64_t ticks = 0;
  std::istringstream(field) >> ticks;
  return ticks;
}

std::uint64_t own_namespace() {
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? static_cast<std::uint64_t>(status.st_ino) : 0;
}

bool is_daemon_of_mpirun(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(file, name);
  return name == "orted" || name == "prted";
}

#if defined(SYS_pidfd_open) && defined(SYS_pidfd_send_signal) && defined(SYS_close_range)
// The main thread may hold a lock of stdio's for ever, which fork() would wait for.
pid_t fork_past_locks() {
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
  return _Fork();
#endif
#endif
  return fork();
}

// A process that waits for another one, and ends it. Between fork and exit of a process with many
// threads: only what is safe there. Holds nothing of ours open, or else the daemon would wait for
// the end of our output.
[[noreturn]] void see_to_the_end_of(int process, int grace_ms) {
  constexpr int to_end_in_order_ms = 4000;
  setsid();
  const auto handle = static_cast<unsigned>(process);
  if (handle > 0 && syscall(SYS_close_range, 0U, handle - 1, 0U) != 0) _exit(1);
  if (syscall(SYS_close_range, handle + 1, ~0U, 0U) != 0) _exit(1);
  pollfd end{process, POLLIN, 0};
  if (poll(&end, 1, grace_ms) != 0) _exit(0);
  syscall(SYS_pidfd_send_signal, process, SIGTERM, nullptr, 0U);
  if (poll(&end, 1, to_end_in_order_ms) == 0) {
    syscall(SYS_pidfd_send_signal, process, SIGKILL, nullptr, 0U);
  }
  _exit(0);
}
#endif

}  // namespace

ProcessId this_process() { return {getpid(), start_ticks_of(getpid()), own_namespace()}; }

void kill_process(const ProcessId& process) noexcept {
  try {
    if (process.pid <= 1 || process.start_ticks == 0) return;
    if (process.pid_namespace != own_namespace()) return;
    if (start_ticks_of(process.pid) != process.start_ticks) return;
    ::kill(static_cast<pid_t>(process.pid), SIGKILL);
  } catch (...) {
    // No memory to read /proc: the launcher will do it.
  }
}

void outlast_daemon(std::chrono::milliseconds grace) noexcept {
#if defined(SYS_pidfd_open) && defined(SYS_pidfd_send_signal) && defined(SYS_close_range)
  try {
    const pid_t daemon = getppid();
    if (!is_daemon_of_mpirun(daemon)) return;
    const auto process = static_cast<int>(syscall(SYS_pidfd_open, daemon, 0U));
    // Still our parent, and so the one that the handle means.
    if (process < 0 || getppid() != daemon) return;
    if (fork_past_locks() == 0) see_to_the_end_of(process, static_cast<int>(grace.count()));
    ::close(process);
  } catch (...) {
    // No memory to read /proc: the daemon is left to mpirun.
  }
#else
  static_cast<void>(grace);
#endif
}

}  // namespace shoal::watch
