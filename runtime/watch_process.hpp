// Another rank's process on this host, and the certainty that it is still that one.
#pragma once

#include <cstdint>

namespace shoal::watch {

/// Which process a rank is.
struct ProcessId {
  std::int64_t pid = 0;
  std::uint64_t start_ticks = 0;  ///< since boot: another process of the same number has another
  std::uint64_t pid_namespace = 0;
};

ProcessId this_process();

/// SIGKILL, if this host has that process.
void kill_process(const ProcessId& process) noexcept;

}  // namespace shoal::watch
