#include "cgroup.hpp"

#include <fstream>

namespace shoal {

CgroupFolders cgroup_folders(const std::string& controller, const std::filesystem::path& proc,
                             const std::filesystem::path& mount) {
  std::string v2_path = "/";
  std::string v1_path = "/";
  std::ifstream groups(proc / "self/cgroup");
  for (std::string text; std::getline(groups, text);) {
    const auto first = text.find(':');
    const auto second = text.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + text.substr(first + 1, second - first - 1) + ",";
    if (controllers == ",,") v2_path = text.substr(second + 1);
    if (controllers.find("," + controller + ",") != std::string::npos) {
      v1_path = text.substr(second + 1);
    }
  }
  const auto with_parents = [](const std::filesystem::path& root, std::string path) {
    std::vector<std::filesystem::path> folders;
    for (;;) {
      folders.emplace_back(root.string() + path);
      const auto slash = path.rfind('/');
      if (slash == std::string::npos || path == "/" || path.empty()) break;
      path = slash == 0 ? "/" : path.substr(0, slash);
    }
    return folders;
  };
  return {with_parents(mount, v2_path), with_parents(mount / controller, v1_path)};
}

}  // namespace shoal
