#include "cgroup.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

#include "descriptor.hpp"

namespace shoal::launch::lab {
namespace {

namespace fs = std::filesystem;

// Flat, directly below the root: there each host weighs as much as any one process of the machine.
std::string prefix(const std::string& lab) { return "shoal-lab." + lab + "."; }

std::string group(const std::string& root, const std::string& lab, const std::string& host) {
  return root + "/" + prefix(lab) + host;
}

void write_setting(const std::string& path, const std::string& value,
                   const std::string& cure = {}) {
  // The kernel makes no file here, whatever is asked of it; the tree of a test does.
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!file || write(file.get(), value.data(), value.size()) < 0) {
    throw Error("lab", fmt::format("writing {} to {}: {}", value, path, std::strerror(errno)),
                cure);
  }
}

bool contains_word(const std::string& list, const std::string& word) {
  std::istringstream words(list);
  for (std::string each; words >> each;) {
    if (each == word) return true;
  }
  return false;
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Quota and period in microseconds. Short periods keep a waiting rank's pauses short; long ones make hosts
// lose less in taking turns: eight of a quarter core on two, in training, worked for 6.2, 5.8 and 5.2 s of
// processors' time a step with periods of 5, 20 and 100 ms. The kernel takes no quota below 1 ms.
struct Quota {
  long quota;
  long period;
};

Quota quota_of(double cores) {
  constexpr double shortest_quota = 1000;
  constexpr double shortest_period = 20000;
  const double period = std::max(shortest_period, std::ceil(shortest_quota / cores));
  return {std::lround(cores * period), std::lround(period)};
}

void make_group(const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0) {
    throw Error("lab", "cannot make the control group " + path + ": " + std::strerror(errno),
                errno == EEXIST ? "shoal lab down first" : "lab needs writable control groups");
  }
}

std::vector<pid_t> members(const std::string& folder) {
  std::ifstream file(folder + "/cgroup.procs");
  std::vector<pid_t> processes;
  for (pid_t process = 0; file >> process;) processes.push_back(process);
  return processes;
}

// Also groups that a program inside has made.
void kill_and_remove(const std::string& folder) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (;;) {
    std::vector<fs::path> folders{folder};
    std::error_code gone;
    for (fs::recursive_directory_iterator at(folder, gone), end; !gone && at != end;
         at.increment(gone)) {
      if (at->is_directory(gone)) folders.push_back(at->path());
    }
    for (const fs::path& each : folders) {
      for (const pid_t process : members(each)) kill(process, SIGKILL);
    }
    std::sort(folders.rbegin(), folders.rend());  // inner ones first
    for (const fs::path& each : folders) rmdir(each.c_str());
    if (access(folder.c_str(), F_OK) != 0) return;
    if (std::chrono::steady_clock::now() > deadline) {
      throw Error(
          "lab down",
          fmt::format("{} processes in {} survive being killed", members(folder).size(), folder),
          "see what they wait for in the kernel, then shoal lab down again");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace

Cgroups::Cgroups(const std::string& mounts_file) {
  std::ifstream mounts(mounts_file);
  std::string unified;
  std::string device, folder, type, options, rest;
  while (mounts >> device >> folder >> type >> options && std::getline(mounts, rest)) {
    std::replace(options.begin(), options.end(), ',', ' ');
    if (type == "cgroup" && contains_word(options, "cpu") && cpu_.empty()) cpu_ = folder;
    if (type == "cgroup" && contains_word(options, "memory") && memory_.empty()) memory_ = folder;
    if (type == "cgroup2" && unified.empty()) unified = folder;
  }
  if (!cpu_.empty()) return;
  const std::string controllers = first_line(unified + "/cgroup.controllers");
  if (unified.empty() || !contains_word(controllers, "cpu")) {
    throw Error("lab", "this machine has no control groups for processors",
                "mount cgroup v1's cpu controller or cgroup2");
  }
  version_2_ = true;
  cpu_ = unified;
  if (contains_word(controllers, "memory")) memory_ = unified;
}

std::vector<std::string> Cgroups::roots() const {
  std::vector<std::string> roots{cpu_};
  if (!memory_.empty() && memory_ != cpu_) roots.push_back(memory_);
  return roots;
}

void Cgroups::make(const std::string& lab, const std::string& host, const HostSpec& spec) const {
  if (spec.memory && memory_.empty()) {
    throw Error("lab --memory", "this machine has no control groups for memory",
                "leave out --memory");
  }
  if (version_2_) {
    const char* cure =
        "in a container, run it on the host: its control groups must be the root ones";
    write_setting(cpu_ + "/cgroup.subtree_control", "+cpu", cure);
    if (spec.memory) write_setting(cpu_ + "/cgroup.subtree_control", "+memory", cure);
  }
  const std::string cpu = group(cpu_, lab, host);
  make_group(cpu);
  if (version_2_) {
    write_setting(cpu + "/cpu.weight", "100");
  } else {
    write_setting(cpu + "/cpu.shares", "1024");
  }
  if (spec.cpu) {
    const Quota quota = quota_of(*spec.cpu);
    const char* cure = "the kernel may lack CONFIG_CFS_BANDWIDTH: leave out --cpu";
    if (version_2_) {
      write_setting(cpu + "/cpu.max", fmt::format("{} {}", quota.quota, quota.period), cure);
    } else {
      write_setting(cpu + "/cpu.cfs_period_us", std::to_string(quota.period), cure);
      write_setting(cpu + "/cpu.cfs_quota_us", std::to_string(quota.quota), cure);
    }
  }
  if (!spec.memory) return;
  const std::string memory = group(memory_, lab, host);
  const std::string bytes = std::to_string(*spec.memory);
  if (version_2_) {
    write_setting(memory + "/memory.max", bytes);
  } else {
    make_group(memory);
    write_setting(memory + "/memory.limit_in_bytes", bytes);
  }
}

void Cgroups::enter(const std::string& lab, const std::string& host, pid_t process) const {
  bool entered = false;
  for (const std::string& root : roots()) {
    const std::string folder = group(root, lab, host);
    if (access(folder.c_str(), F_OK) != 0) continue;
    write_setting(folder + "/cgroup.procs", std::to_string(process));
    entered = true;
  }
  if (!entered) {
    throw Error("lab", "host " + host + " has no control group", "shoal lab down, then up again");
  }
}

std::vector<std::string> Cgroups::hosts(const std::string& lab) const {
  std::vector<std::string> found;
  for (const std::string& root : roots()) {
    std::error_code gone;
    for (fs::directory_iterator at(root, gone), end; !gone && at != end; at.increment(gone)) {
      const std::string name = at->path().filename();
      if (name.rfind(prefix(lab), 0) != 0) continue;
      const std::string host = name.substr(prefix(lab).size());
      if (std::find(found.begin(), found.end(), host) == found.end()) found.push_back(host);
    }
  }
  return found;
}

std::vector<pid_t> Cgroups::processes(const std::string& lab, const std::string& host) const {
  return members(group(cpu_, lab, host));
}

bool Cgroups::remove(const std::string& lab) const {
  const std::vector<std::string> all = hosts(lab);
  for (const std::string& root : roots()) {
    for (const std::string& host : all) {
      const std::string folder = group(root, lab, host);
      if (access(folder.c_str(), F_OK) == 0) kill_and_remove(folder);
    }
  }
  return !all.empty();
}

}  // namespace shoal::launch::lab
