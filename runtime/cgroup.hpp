// Control groups of this process, version 1 or 2.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace shoal {

/// Folders of the groups that limit this process, from its own up to the root.
struct CgroupFolders {
  std::vector<std::filesystem::path> v2;
  std::vector<std::filesystem::path> v1;  ///< of the controller asked for
};

/// A process sees its own group at the root of the mount in a container, and under its path outside
/// of one; folders that are not there are named all the same.
CgroupFolders cgroup_folders(const std::string& controller,
                             const std::filesystem::path& proc = "/proc",
                             const std::filesystem::path& mount = "/sys/fs/cgroup");

}  // namespace shoal
