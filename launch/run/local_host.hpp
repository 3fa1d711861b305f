// This machine as a host of a job.
#pragma once

#include <string>
#include <vector>

namespace shoal::launch {

/// Its name, without the domain.
std::string local_host_name();

/// True if `name` means this machine: localhost, its host name, or an address of one of its
/// interfaces.
bool is_local_host(const std::string& name);

/// What its affinity mask lets this process use.
struct AllowedCores {
  std::vector<std::vector<int>> cores;  ///< of each physical core the processors, as Linux counts
  bool whole = true;                    ///< all that the machine has
};
AllowedCores allowed_cores();

/// Physical cores that this process may use: those of its affinity mask, at most as many as the CPU
/// quota allows, at least 1. Hyperthreads share the arithmetic that a rank needs for itself.
int usable_cores();

}  // namespace shoal::launch
