#include "auto_mesh.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/planning/gpt.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/wait.hpp>
#ifdef SHOAL_HAS_BENCH
#include <shoal/bench/bench.hpp>
#endif

#include "default_mesh.hpp"
#include "planning/flags.hpp"
#include "profile_file.hpp"

namespace shoal::launch {
namespace {

// Ranks of each node, if all have as many.
std::optional<int> even_ranks(const Communicator& world) {
  std::vector<int> ranks(static_cast<std::size_t>(world.node_count()), 0);
  for (Rank rank = 0; rank < world.size(); ++rank) {
    ++ranks[static_cast<std::size_t>(world.node_of(rank))];
  }
  const bool even = std::adjacent_find(ranks.begin(), ranks.end(), std::not_equal_to<>()) ==
                    ranks.end();
  return even ? std::optional<int>(ranks.front()) : std::nullopt;
}

// A profile of such ranks as are here, the same on all; nothing, and why, where there can be none.
std::optional<planning::Cluster> profile_here(const Communicator& world, const std::string& type,
                                              std::string& source) {
  const std::optional<int> each = even_ranks(world);
  if (!each) {
    source = "nodes have different numbers of ranks";
    return std::nullopt;
  }
  std::optional<planning::Cluster> tuned = tuned_profile(world);
  if (tuned && tuned->devices_per_node == *each && tuned->nodes >= world.node_count() &&
      tuned->device.measured.count("product." + type + ".nt") > 0) {
    source = "the profile of shoal tune";
    tuned->nodes = world.node_count();
    return tuned;
  }
#ifdef SHOAL_HAS_BENCH
  // Where ranks take turns on a core a second would tell nothing.
  std::int32_t shares = ranks_own_their_cores() ? 0 : 1;
  all_reduce(world, &shares, &shares, 1, DType::i32, ReduceOp::max);
  if (shares == 0) {
    bench::ProfileOptions options;
    options.types = {type};
    options.quick = true;
    source = "a short measurement (shoal tune makes a finer one)";
    return same_cluster(world, bench::profile(world, options));
  }
  source = "ranks share cores, and shoal tune has measured no such ranks";
#else
  source = "there is no profile by shoal tune";
#endif
  return std::nullopt;
}

std::string priced(const planning::PricedMesh& each) {
  return fmt::format("{} {}", each.mesh.text(), seconds_text(each.estimate.seconds));
}

}  // namespace

AutoMesh choose_auto_mesh(const Communicator& world, const models::TrainOptions& options) {
  AutoMesh chosen;
  std::string source;
  const std::string type =
      options.model.precision == kernels::Precision::bf16 ? "bf16" : "fp32";
  std::optional<planning::Cluster> cluster;
  if (world.size() > 1) cluster = profile_here(world, type, source);
  if (!cluster) {
    chosen.mesh = choose_mesh("", world.size(), options.model.heads);
    chosen.why = world.size() == 1 ? "there is one rank" : "the default, since " + source;
    return chosen;
  }
  const std::vector<planning::PricedMesh> meshes = planning::price_meshes(
      options, planning::find_software("shoal"), *cluster, world.size());
  if (meshes.empty()) {
    throw UsageError("--mesh auto",
                     fmt::format("no mesh of {} ranks divides a batch of {} and {} heads",
                                 world.size(), options.batch_size, options.model.heads),
                     "change --batch-size, or start another number of ranks");
  }
  const planning::PricedMesh& best = meshes.front();
  chosen.mesh = best.mesh;
  chosen.why = fmt::format("{} a step, by {}", seconds_text(best.estimate.seconds), source);
  constexpr std::size_t shown = 3;
  for (std::size_t i = 1; i < std::min(meshes.size(), shown); ++i) {
    chosen.why += (i == 1 ? "; " : ", ") + priced(meshes[i]);
  }
  std::string causes;
  for (const planning::Cause& cause : best.estimate.causes) {
    const double share = cause.seconds / best.estimate.seconds;
    constexpr double worth_telling = 0.02;
    if (share < worth_telling) continue;
    causes += fmt::format("{}{:.0f} % {}", causes.empty() ? "" : ", ", 100 * share, cause.name);
  }
  chosen.why += "\n        of which " + causes;
  return chosen;
}

}  // namespace shoal::launch
