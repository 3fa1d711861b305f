// Where profiles are: folders of the user, then those beside the executable.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <shoal/runtime/error.hpp>

#include "profiles/fields.hpp"

namespace shoal::planning {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) refuse_profile(path.string(), "it is a folder");
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) refuse_profile(path.string(), "it cannot be read");
  return text.str();
}

// The file of a profile; what follows is for messages.
fs::path file_of(const std::string& kind, const std::string& name) {
  if (name.ends_with(".json")) return name;
  if (name.find('/') == std::string::npos) {
    for (const std::string& folder : profile_folders()) {
      const fs::path path = fs::path(folder) / kind / (name + ".json");
      std::error_code error;
      if (fs::exists(path, error)) return path;
    }
  }
  std::string names;
  for (const std::string& each : profile_names(kind)) names += (names.empty() ? "" : ", ") + each;
  throw UsageError("profiles", "there is none of the name '" + name + "' among the " + kind,
                   names.empty() ? "set SHOAL_PROFILES to the folder that has them"
                                 : "choose one of " + names + ", or the path of a .json file");
}

}  // namespace

std::vector<std::string> profile_folders() {
  std::vector<std::string> folders;
  if (const char* given = std::getenv("SHOAL_PROFILES")) {
    std::istringstream list(given);
    for (std::string folder; std::getline(list, folder, ':');) {
      if (!folder.empty()) folders.push_back(folder);
    }
  }
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    folders.push_back((executable.parent_path().parent_path() / "share/shoal/profiles").string());
  }
  return folders;
}

std::vector<std::string> profile_names(const std::string& kind) {
  std::set<std::string> names;
  for (const std::string& folder : profile_folders()) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(fs::path(folder) / kind, error)) {
      if (entry.path().extension() == ".json") names.insert(entry.path().stem().string());
    }
  }
  return {names.begin(), names.end()};
}

Device find_device(const std::string& name) {
  const fs::path path = file_of("devices", name);
  return parse_device(text_of(path), path.string());
}
Cluster find_cluster(const std::string& name) {
  const fs::path path = file_of("clusters", name);
  return parse_cluster(text_of(path), path.string());
}
Model find_model(const std::string& name) {
  const fs::path path = file_of("models", name);
  return parse_model(text_of(path), path.string());
}
Software find_software(const std::string& name) {
  const fs::path path = file_of("software", name);
  return parse_software(text_of(path), path.string());
}

}  // namespace shoal::planning
