// Another rank's process on this host, and the certainty that it is still that one.
#pragma once

#include <chrono>
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

/// Sees to it that the daemon by which mpirun started this process on this host does not stay when
/// the run has ended: once its host is cut off it waits for mpirun for as long as TCP tries to send
/// what it has to say, a quarter of an hour. Leaves a process behind that ends the daemon after
/// `grace`, and goes itself no later than 4 s after that. Does nothing where the parent is no such
/// daemon (but mpirun itself, or Slurm's), or the kernel is older than 5.9.
void outlast_daemon(std::chrono::milliseconds grace) noexcept;

}  // namespace shoal::watch
