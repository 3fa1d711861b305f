#include <shoal/runtime/memory_left.hpp>

#include <fstream>
#include <optional>
#include <string>

#include "cgroup.hpp"

namespace shoal {
namespace {

namespace fs = std::filesystem;

std::optional<Bytes> number_in(const fs::path& file) {
  std::ifstream stream(file);
  Bytes value = 0;
  if (stream >> value) return value;  // "max" is no number
  return std::nullopt;
}

// The value after `key` in a file of pairs.
Bytes value_of(const fs::path& file, const std::string& key) {
  std::ifstream stream(file);
  std::string name;
  Bytes value = 0;
  std::string rest;
  while (stream >> name >> value) {
    if (name == key) return value;
    std::getline(stream, rest);
  }
  return 0;
}

void tighten(MemoryLeft& left, const fs::path& group, const char* limit, const char* usage,
             const char* droppable) {
  const std::optional<Bytes> most = number_in(group / limit);
  if (!most) return;
  const Bytes used = number_in(group / usage).value_or(0);
  const Bytes files = value_of(group / "memory.stat", droppable);
  const Bytes held = used > files ? used - files : 0;
  const Bytes bytes = *most > held ? *most - held : 0;
  if (bytes < left.bytes) left = {bytes, "the control group " + group.lexically_normal().string()};
}

}  // namespace

MemoryLeft memory_left(const fs::path& proc, const fs::path& groups) {
  MemoryLeft left;
  if (const Bytes kib = value_of(proc / "meminfo", "MemAvailable:")) {
    left = {kib << 10, "the machine's memory"};
  }
  const CgroupFolders folders = cgroup_folders("memory", proc, groups);
  for (const fs::path& group : folders.v2) {
    tighten(left, group, "memory.max", "memory.current", "inactive_file");
  }
  for (const fs::path& group : folders.v1) {
    tighten(left, group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
  }
  return left;
}

}  // namespace shoal
