#include "profile_file.hpp"

#include <system_error>

#include <shoal/collectives/broadcast.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>
#include <shoal/runtime/settings.hpp>
#include <shoal/runtime/topology.hpp>
#include <shoal/runtime/tuning_file.hpp>

namespace shoal::launch {
std::filesystem::path profile_beside(const std::filesystem::path& table) {
  std::filesystem::path path = table;
  return path.replace_extension(".profile.json");
}

planning::Cluster cluster_of_rank_0(const Communicator& world, const std::string& name) {
  std::string text, problem;
  if (world.rank() == 0) {
    try {
      text = planning::profile_text(planning::find_cluster(name));
    } catch (const Error& error) {
      problem = error.message();
    }
  }
  problem = broadcast_text(world, problem);
  if (!problem.empty()) throw UsageError("--cluster " + name, problem);
  return planning::parse_cluster(broadcast_text(world, text), name);
}

planning::Cluster same_cluster(const Communicator& world, const planning::Cluster& cluster) {
  std::string text;
  if (world.rank() == 0) text = planning::profile_text(cluster);
  return planning::parse_cluster(broadcast_text(world, text), cluster.name);
}

std::optional<planning::Cluster> tuned_profile(const Communicator& world) {
  if (settings().tuning == "off") return std::nullopt;
  std::filesystem::path path;
  std::int64_t there = 0;
  if (world.rank() == 0) {
    path = settings().tuning.empty() ? default_tuning_path()
                                     : std::filesystem::path(settings().tuning);
    path = profile_beside(path);
    std::error_code error;
    there = std::filesystem::exists(path, error) ? 1 : 0;
  }
  broadcast(world, &there, 1, DType::i64, 0);
  if (there == 0) return std::nullopt;
  const std::string where = broadcast_text(world, path.string());
  planning::Cluster cluster = cluster_of_rank_0(world, where);
  const std::string processor = broadcast_text(world, local_machine().processor);
  if (cluster.note.find(processor) == std::string::npos) {
    if (world.rank() == 0) {
      log::warning("profile " + where + ": it was not measured on " + processor +
                   "; it is left aside");
    }
    return std::nullopt;
  }
  return cluster;
}

}  // namespace shoal::launch
