#include "watch_process.hpp"

#include <sys/stat.h>
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

}  // namespace shoal::watch
