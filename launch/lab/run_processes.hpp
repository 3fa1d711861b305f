// The processes of one run, wherever in the lab they are.
#pragma once

#include <string>

#include "cgroup.hpp"
#include "state.hpp"

namespace shoal::launch::lab {

/// Finds them by a mark in their environment, which they inherit from mpirun and its daemons.
class RunProcesses {
 public:
  /// The environment variable that holds the identity of the run.
  static constexpr const char* variable = "SHOAL_LAB_RUN";

  RunProcesses(const Lab& lab, std::string id);

  /// How many there are that MPI counts as ranks, or that these have started.
  int ranks() const;
  /// Those of them on hosts that are not cut off.
  int ranks_plugged_in() const;
  /// Kills all of the run, mpirun and daemons too; returns when they are gone, or after 10 s.
  void kill_all() const;

 private:
  std::string environment_of_ours(pid_t process) const;
  int ranks_on(int host) const;

  const Lab& lab_;
  Cgroups groups_;
  std::string mark_;
};

}  // namespace shoal::launch::lab
