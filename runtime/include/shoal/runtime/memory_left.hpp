// Memory that this process and others on its node may still take.
#pragma once

#include <filesystem>
#include <string>

#include <shoal/runtime/units.hpp>

namespace shoal {

/// What is left, and what sets the limit.
struct MemoryLeft {
  Bytes bytes = ~Bytes{0};  ///< the largest number if the system does not say
  std::string limit;        ///< "the machine's memory", or the control group's folder
};

/// The least of what the kernel could give without swapping (MemAvailable) and of what the control
/// groups of this process have left; pages of files that the kernel can drop count as left. The
/// arguments are for tests: where proc and the control groups are mounted.
MemoryLeft memory_left(const std::filesystem::path& proc = "/proc",
                       const std::filesystem::path& groups = "/sys/fs/cgroup");

}  // namespace shoal
