// The profile of this machine: a file beside the tuning table.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <shoal/planning/profile.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::launch {

/// Where the profile that belongs to a tuning table is: tuning.profile.json beside tuning.json.
std::filesystem::path profile_beside(const std::filesystem::path& table);

/// The cluster that rank 0 finds by name or path, on all ranks. Collective. Throws UsageError, on all
/// ranks alike.
planning::Cluster cluster_of_rank_0(const Communicator& world, const std::string& name);

/// What rank 0 passes, on all ranks. Collective.
planning::Cluster same_cluster(const Communicator& world, const planning::Cluster& cluster);

/// The profile beside the tuning table that this run has or would have, the same on all ranks;
/// nothing if there is none, if SHOAL_TUNING is off, or if it is of another processor, which is warned
/// of. Collective.
std::optional<planning::Cluster> tuned_profile(const Communicator& world);

}  // namespace shoal::launch
