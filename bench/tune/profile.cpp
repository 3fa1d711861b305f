// What `shoal plan` computes with, measured here.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/planning/kernels.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/topology.hpp>

#include "peak.hpp"
#include "report.hpp"
#include "tune/crowding.hpp"
#include "tune/kernel_rates.hpp"
#include "tune/link_rates.hpp"
#include "tune/shared_rates.hpp"

namespace shoal::bench {
namespace {

using planning::Cluster;
using planning::Device;
using planning::Figure;
using planning::Table;

// The smallest number of seconds a FLOP that a table has.
double best_of(const Table& table) {
  return *std::min_element(table.values.begin(), table.values.end());
}

std::string source_text(const Communicator& world, int each) {
  return fmt::format("shoal tune, {} rank{} on {} node{}, {}, {}", world.size(),
                     world.size() == 1 ? "" : "s", world.size() / each,
                     world.size() == each ? "" : "s", local_machine().processor,
                     utc_now().substr(0, 10));
}

// Ranks of a node; all nodes must have as many.
int ranks_a_node(const Communicator& world) {
  std::vector<int> ranks(static_cast<std::size_t>(world.node_count()), 0);
  for (Rank rank = 0; rank < world.size(); ++rank) {
    ++ranks[static_cast<std::size_t>(world.node_of(rank))];
  }
  const auto [least, most] = std::minmax_element(ranks.begin(), ranks.end());
  if (*least != *most) {
    throw UsageError("profile",
                     fmt::format("nodes have {} to {} ranks, a profile has one number of them",
                                 *least, *most),
                     "start equally many on each");
  }
  return *most;
}

// The figures of a device that has no tables, from those that it has.
void set_headlines(Device& device, const Sampler& sampler, const std::string& source) {
  double peak = fma_gflops() * 1e9;
  all_reduce(sampler.world(), &peak, &peak, 1, DType::f64, ReduceOp::sum);
  peak /= sampler.world().size();
  const Table& plain = device.measured.at(planning::product_table("fp32", planning::Form::nt));
  peak = std::max(peak, 1 / best_of(plain));
  const double efficiency = std::max(1 / best_of(plain) / peak, 0.01);
  device.peak["fp32"] = {peak, 'A', source + ": multiply-adds in registers"};
  const auto half = device.measured.find(planning::product_table("bf16", planning::Form::nt));
  if (half != device.measured.end()) {
    device.peak["bf16"] = {1 / best_of(half->second) / efficiency, 'D',
                           "the quickest product, at the efficiency of fp32"};
  }
  device.matrix_efficiency = {efficiency, 'A', source + ": the quickest product"};
  // rate(k) ~ k/(k + half): from two depths of a product of 512 x 512.
  for (const auto& [type, peak_of_type] : device.peak) {
    const Table& products = device.measured.at(planning::product_table(type, planning::Form::nt));
    const double side = 512, shallow = 64, deep = 1024;
    const double ratio = products.at({side, side, shallow}) / products.at({side, side, deep});
    // A shallow product that is sixteen times as slow, or more, spends all its time on the ramp.
    constexpr double most = 1e4;
    const double left = 1 / shallow - ratio / deep;
    const double half_depth = left > 0 ? (ratio - 1) / left : most;
    device.half_depth[type] = {std::clamp(half_depth, 0.0, most), 'D',
                               "products of 512 x 512, 64 and 1024 deep"};
  }
  device.units = {static_cast<double>(default_compute_threads()), 'A', "threads of a rank"};
  device.tile_rows = {32, 'E', "panels of a vector kernel"};
  device.tile_cols = {64, 'E', "panels of a vector kernel"};
  constexpr double numbers = 3 * 4;  // of 4 bytes, that an addition moves
  device.memory_bandwidth = {numbers / device.measured.at("add").values.back(), 'A',
                             source + ": the sum of two long arrays"};
  device.memory_efficiency = {1, 'D', "as measured"};
  const Table& add = device.measured.at("add");
  device.launch_seconds = {
      std::max(add.axes[0].front() * (add.values.front() - add.values[1]), 1e-9), 'D',
      "the shortest sum, beyond its share of a longer one"};
}

planning::Level level_of_one_rank() {
  planning::Level none;
  none.name = "shared memory";
  none.kind = planning::Level::Kind::shared_memory;
  none.latency = {1e-6, 'E', "one rank has nobody to meet"};
  none.bandwidth = {1e10, 'E', "one rank has nobody to meet"};
  none.efficiency = {1, 'E', "one rank has nobody to meet"};
  return none;
}

}  // namespace

Cluster profile(const Communicator& world, const ProfileOptions& options) {
  const int each = ranks_a_node(world);
  const std::string source = source_text(world, each);
  ConditionProbe probe(world);
  probe.take();
  const Sampler sampler(world, options.quick ? 0.002 : options.seconds_a_point / rate_passes);
  // Every type has three products and two passes of attention. Of a machine that changes there are more.
  const std::size_t tables = 5 * options.types.size() + std::size(planning::stream_kernels);
  const int a_pass =
      static_cast<int>(tables) + (each > 1) + (world.size() > each) + (world.size() > 1);
  const int steps = a_pass * (options.quick ? 1 : rate_passes) + 1;
  int done = 0;
  const auto step = [&](const std::string& what) {
    if (!options.progress || world.rank() != 0) return;
    options.progress(std::min(done++, steps - 1), steps, what);
  };
  Cluster cluster;
  cluster.name = "this-machine";
  cluster.devices_per_node = each;
  cluster.nodes = world.size() / each;
  cluster.software = "shoal";
  Device& device = cluster.device;
  device.name = "a rank of " + local_machine().host;
  // What ranks exchange, and what they take of each other, is measured after each pass over the
  // kernels: so the tries of a figure are spread over the whole run.
  const LinkOptions link_options{options.quick, source};
  std::optional<SharedMemoryRates> shared;
  std::optional<LinkRates> links;
  std::optional<CrowdRates> crowd;
  if (each > 1) shared.emplace(world, link_options);
  if (cluster.nodes > 1) links.emplace(sampler, link_options);
  if (world.size() > 1 && !options.quick) crowd.emplace(sampler, link_options);
  const auto after_pass = [&] {
    if (crowd) {
      step("some ranks alone");
      crowd->pass();
    }
    if (shared) {
      step("collectives in shared memory");
      shared->pass();
    }
    if (links) {
      step("messages and collectives between nodes");
      links->pass();
    }
  };
  device.measured =
      kernel_rates(sampler, {options.types, options.quick, source, step, after_pass}, probe);
  const double memory = static_cast<double>(local_machine().memory);
  device.memory_bytes = {memory / each, 'A', "of the node, shared by its ranks"};
  set_headlines(device, sampler, source);
  if (crowd) crowd->put(device);
  if (each > 1 || cluster.nodes == 1) {
    cluster.levels.push_back(shared ? shared->level() : level_of_one_rank());
    cluster.levels.back().devices = cluster.nodes > 1 ? each : 0;
  }
  if (links) {
    const double gamma = 3 / (device.memory_bandwidth * device.memory_efficiency);
    cluster.levels.push_back(links->level(gamma));
    cluster.levels.back().shared_by = each;
  }
  probe.take();
  cluster.condition = condition_of(probe.taken(), source);
  cluster.note = source;
  return cluster;
}

}  // namespace shoal::bench
