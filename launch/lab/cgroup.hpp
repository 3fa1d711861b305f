// Control groups: one a host, for its share of the processors and of the memory, and to find and
// end all that runs in it. Version 1 and version 2 of the kernel's interface.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "spec.hpp"

namespace shoal::launch::lab {

/// Where the kernel's control groups are mounted on this machine.
class Cgroups {
 public:
  /// `mounts`: the file that lists what is mounted (a test has one of its own). Throws Error if there
  /// is no controller for processors, without which hosts could not share them.
  explicit Cgroups(const std::string& mounts = "/proc/self/mounts");

  /// Makes the group of a host and sets its limits. Throws Error if the kernel refuses one.
  void make(const std::string& lab, const std::string& host, const HostSpec& spec) const;
  /// Puts a process, and all that it will start, into the group.
  void enter(const std::string& lab, const std::string& host, pid_t process) const;

  /// Hosts of a lab that have a group, in no order.
  std::vector<std::string> hosts(const std::string& lab) const;
  /// Processes in the group of a host.
  std::vector<pid_t> processes(const std::string& lab, const std::string& host) const;
  /// Kills everything in the groups of a lab and removes them. Throws Error if a process survives
  /// 10 s of that. True if there was any group.
  bool remove(const std::string& lab) const;

 private:
  std::vector<std::string> roots() const;

  bool version_2_ = false;
  std::string cpu_;     ///< mount point; with version 2 that of all controllers
  std::string memory_;  ///< mount point; empty: no such controller
};

}  // namespace shoal::launch::lab
