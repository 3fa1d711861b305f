// The flags that say where a job runs, and what they mean here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "hosts.hpp"
#include "slurm.hpp"

namespace CLI {
class App;
}

namespace shoal::launch {

/// As text, from the command line.
struct HostFlags {
  std::string hosts, hostfile, rsh_agent, starter = "auto";
  void add_to(CLI::App& app);
};

/// Where a job may run.
struct Ground {
  std::vector<Host> hosts;  ///< slots 0: not told yet
  bool named = false;       ///< false: only this machine, which nobody named
  std::optional<SlurmAllocation> slurm;
  Starter starter = Starter::mpirun;
};

/// The hosts of the flags; without any, the nodes of the Slurm allocation, or else this machine. In
/// an allocation srun starts the ranks if it serves PMIx, mpirun if not. Throws UsageError.
Ground find_ground(const HostFlags& flags);

/// Asks the hosts whose slots are not told. Throws Error, with the reason and the cure, if one of
/// them does not answer.
void count_slots(std::vector<Host>& hosts, const std::string& rsh_agent);

}  // namespace shoal::launch
