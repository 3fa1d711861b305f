// The Slurm allocation this process runs in.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "hosts.hpp"

namespace shoal::launch {

/// What sbatch or salloc gave us.
struct SlurmAllocation {
  std::string job;
  std::vector<Host> hosts;            ///< its nodes; slots: CPUs of the job there
  std::optional<int> tasks;           ///< of --ntasks
  std::optional<int> tasks_per_node;  ///< of --ntasks-per-node
  std::optional<int> cpus_per_task;   ///< of --cpus-per-task
};

/// From SLURM_JOB_ID and its like; nothing outside of an allocation. Throws Error if the list of
/// nodes is not to be had.
std::optional<SlurmAllocation> slurm_allocation();

/// From "2(x3),4": 2, 2, 2, 4. Throws Error if it is damaged.
std::vector<int> parse_slurm_counts(std::string_view text);

/// Nodes that Slurm holds to be gone, from what sinfo says of each: "n1 allocated", "n2 down*", a
/// line a node and partition. Not those that are only to get no new jobs.
std::set<std::string> parse_gone_nodes(std::string_view sinfo_text);

/// Asks sinfo for those among `hosts`; none of them where it does not answer within 10 s.
std::set<std::string> slurm_gone_nodes(const std::vector<Host>& hosts);

/// True if Slurm's srun says that it can serve PMIx, which Open MPI's ranks need to find each
/// other.
bool srun_serves_pmix();

}  // namespace shoal::launch
