#include "tune/shared_rates.hpp"

#include <algorithm>
#include <iterator>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/runtime/memory_left.hpp>

#include "timing.hpp"
#include "tune/fresh_collective.hpp"
#include "tune/kernel_rates.hpp"
#include "tune/points.hpp"

namespace shoal::bench {
namespace {

using planning::Level;
using planning::Table;

constexpr double least_flag = 1e-9;
// The longest sizes take too long for more than one pass.
constexpr double most_again = 1 << 24;

int ranks_of_node(const Communicator& world, int node) {
  int ranks = 0;
  for (Rank rank = 0; rank < world.size(); ++rank) ranks += world.node_of(rank) == node;
  return ranks;
}

// Where buffers outgrow the caches of a core, the seconds a byte are no power of the bytes over a
// factor of four.
std::vector<double> with_steps_between(const std::vector<double>& sizes) {
  constexpr double first = 1 << 18, last = 1 << 24;
  std::vector<double> all;
  for (const double size : sizes) {
    if (!all.empty() && all.back() >= first && size <= last) all.push_back(size / 2);
    all.push_back(size);
  }
  return all;
}

// Bytes that the formula of a collective in shared buffers counts for each byte of the call.
double counted_bytes(Operation operation, Bytes bytes, int ranks) {
  Network net;
  net.node_alpha = 1e-30;
  net.node_beta = 1;
  return find_algorithm(operation, "node_shared").cost(bytes, ranks, net).count();
}

double flag_seconds(const Communicator& group) {
  const std::function<void()> calls[] = {[&] {
    for (int i = 0; i < 20; ++i) barrier(group);
  }};
  return interleaved_medians(group, calls, 0.02, 5, 1)[0] / 20 / group.size();
}

}  // namespace

double shared_seconds_a_byte(Operation operation, double bytes, int ranks, double seconds,
                             double flag) {
  const double moved = counted_bytes(operation, static_cast<Bytes>(bytes), ranks);
  return std::max((seconds - 2 * ranks * flag) / moved, least_seconds_a_byte);
}

SharedMemoryRates::SharedMemoryRates(const Communicator& world, const LinkOptions& options)
    : options_(options),
      node_(world.split(world.node_of(world.rank()), world.rank(), "profile: the node")) {
  const int each = ranks_of_node(world, world.node_of(0));
  // Buffers of all ranks together, input and output, take a small part of the node's memory.
  constexpr double memory_part = 1.0 / 12;
  double most = memory_part * static_cast<double>(memory_left().bytes) / each;
  all_reduce(world, &most, &most, 1, DType::f64, ReduceOp::min);
  // A quick profile has as many sizes of those that are soon measured: three were off by two in between.
  const double longest_here = options.quick ? 1 << 24 : 1 << 28;
  sizes_ = with_steps_between(
      profile_sizes(false, std::min({most, options.most_bytes, longest_here})));
  // Gradients of a large model are longer than what the caches of all cores hold.
  constexpr double longest = 1 << 29;
  if (!options.quick && std::min(most, options.most_bytes) >= longest) sizes_.push_back(longest);
  for (const double size : profile_groups(each)) {
    const int ranks = static_cast<int>(size);
    // Ranks that are left over form a smaller group, of which nothing is asked.
    groups_.push_back(
        {ranks, node_.split(node_.rank() / ranks, node_.rank(), "profile: a group"), {}, {}});
  }
}

void SharedMemoryRates::pass() {
  const double figure_seconds = options_.quick ? 0.01 : 0.1 / rate_passes;
  for (Group& group : groups_) {
    const bool whole = group.comm.size() == group.ranks;
    double flag = whole ? flag_seconds(group.comm) : 0;
    all_reduce(node_, &flag, &flag, 1, DType::f64, ReduceOp::max);
    const bool again = !group.flags.empty();
    group.flags.push_back(flag);
    for (const Operation operation : all_operations) {
      if (operation == Operation::barrier) continue;
      std::vector<std::vector<double>>& times = group.times[operation];
      times.resize(sizes_.size());
      for (std::size_t i = 0; i < sizes_.size(); ++i) {
        if (again && sizes_[i] > most_again) continue;
        barrier(node_);
        double seconds = 0;
        if (whole) {
          seconds = FreshCollective(group.comm, operation, static_cast<Bytes>(sizes_[i]))
                        .time(figure_seconds);
        }
        all_reduce(node_, &seconds, &seconds, 1, DType::f64, ReduceOp::max);
        times[i].push_back(seconds);
      }
    }
  }
}

Level SharedMemoryRates::level() const {
  Level level;
  level.name = "shared memory";
  level.kind = Level::Kind::shared_memory;
  std::vector<double> groups;
  for (const Group& group : groups_) groups.push_back(group.ranks);
  Table flags{{groups}, {}, 'A', options_.source};
  for (const Operation operation : all_operations) {
    if (operation == Operation::barrier) continue;
    level.measured[std::string(name_of(operation))] =
        Table{{groups, sizes_}, {}, 'A', options_.source};
  }
  for (const Group& group : groups_) {
    std::map<Operation, std::vector<double>> calls;
    double quickest = 1;
    for (const auto& [operation, of_sizes] : group.times) {
      for (const std::vector<double>& times : of_sizes) calls[operation].push_back(median(times));
      quickest =
          std::min(quickest, *std::min_element(calls[operation].begin(), calls[operation].end()));
    }
    // A barrier's flags may take longer than a whole short call, whose data travel with them: what
    // a call takes beyond its flags has to stay above nothing, or there is nothing to go on between
    // sizes.
    const double flag =
        std::max(std::min(median(group.flags), quickest / 2 / (2 * group.ranks)), least_flag);
    flags.values.push_back(flag);
    for (const auto& [operation, seconds] : calls) {
      Table& table = level.measured[std::string(name_of(operation))];
      for (std::size_t i = 0; i < sizes_.size(); ++i) {
        table.values.push_back(
            shared_seconds_a_byte(operation, sizes_[i], group.ranks, seconds[i], flag));
      }
    }
  }
  const Table& sums = level.measured.at("all_reduce");
  level.latency = {flags.values.back(), 'A', options_.source + ": a flag"};
  level.bandwidth = {1 / sums.values.back(), 'A', options_.source + ": the longest all-reduce"};
  level.efficiency = {1, 'D', "as measured"};
  level.overhead = {0, 'D', "in the flags"};
  level.measured["flag"] = std::move(flags);
  return level;
}

}  // namespace shoal::bench
