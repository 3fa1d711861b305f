#include "tune/link_rates.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

#include <fmt/format.h>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/memory_left.hpp>

#include "timing.hpp"
#include "tune/fresh_collective.hpp"

namespace shoal::bench {
namespace {

using planning::Figure;
using planning::Level;
using planning::Table;

constexpr double least_seconds_a_byte = 1e-14;
constexpr double least_flag = 1e-9;

std::vector<double> message_sizes(bool quick, double most) {
  if (quick) return {64, 16384, 4194304};
  std::vector<double> sizes;
  for (double size = 64; size <= most; size *= 4) sizes.push_back(size);
  return sizes;
}

std::vector<double> group_sizes(int ranks) {
  std::vector<double> sizes;
  for (int size = 2; size < ranks; size *= 2) sizes.push_back(size);
  sizes.push_back(ranks);
  return sizes;
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

// Ranks of several nodes: the first of each of two, on the others nothing.
Communicator pair_of(const Communicator& world, bool& in) {
  Rank far = 0;
  for (Rank rank = world.size() - 1; rank > 0; --rank) {
    if (world.node_of(rank) != world.node_of(0)) far = rank;
  }
  in = world.rank() == 0 || world.rank() == far;
  return world.split(in ? 0 : 1, world.rank(), "profile: two nodes");
}

// Both send each other `bytes` and add them.
double exchange_seconds(const Communicator& pair, double bytes, const Buffer<float>& data,
                        double seconds) {
  const auto count = static_cast<Index>(bytes / sizeof(float));
  if (bytes < static_cast<double>(least_paused)) {
    return FreshCollective(pair, Operation::all_reduce, static_cast<Bytes>(bytes)).time(seconds);
  }
  std::vector<double> times;
  constexpr int rounds = 7;
  for (int round = 0; round < rounds; ++round) {
    pause_between_nodes();
    barrier(pair);
    const auto start = std::chrono::steady_clock::now();
    all_reduce(pair, data.data(), data.data(), count, DType::f32, ReduceOp::max,
               {"recursive_doubling"});
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  all_reduce(pair, times.data(), times.data(), rounds, DType::f64, ReduceOp::max);
  return median(times);
}

struct Beside {
  double slowdown = 1, cost = 0;
};

// An all-reduce of all ranks, as long as a bucket of gradients, beside products.
Beside measure_beside(const Sampler& sampler) {
  const Communicator& world = sampler.world();
  constexpr Index side = 192;
  constexpr Index bucket = Index{2} << 20;
  const Buffer<float> matrices(3 * side * side);
  const Buffer<float> gradients(bucket, Memory::node_shared);
  const auto compute = [&] {
    float* const a = matrices.data();
    kernels::gemm(kernels::Trans::no, kernels::Trans::yes, side, side, side, 1.0f, a, side,
                  a + side * side, side, 0.0f, a + 2 * side * side, side);
  };
  const double alone = sampler.time(compute);
  std::vector<double> exchange, slower, cost;
  constexpr int rounds = 4;
  for (int round = 0; round < rounds; ++round) {
    barrier(world);
    Work work = start_all_reduce(world, gradients.span(), ReduceOp::sum);
    work.wait();
    if (round > 0) exchange.push_back(work.took().count());
  }
  double by_itself = median(exchange);
  all_reduce(world, &by_itself, &by_itself, 1, DType::f64, ReduceOp::max);
  for (int round = 0; round < rounds; ++round) {
    barrier(world);
    const auto start = std::chrono::steady_clock::now();
    Work work = start_all_reduce(world, gradients.span(), ReduceOp::sum);
    double products = 0;
    bool done = false;
    while (!done) {
      compute();
      ++products;
      done = work.test();
    }
    const double spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    work.wait();
    slower.push_back(spent / by_itself);
    cost.push_back(1 - products * alone / spent);
  }
  double both[2] = {median(slower), median(cost)};
  all_reduce(world, both, both, 2, DType::f64, ReduceOp::sum);
  return {std::max(both[0] / world.size(), 0.5), std::clamp(both[1] / world.size(), 0.0, 0.95)};
}

}  // namespace

Level shared_memory_level(const Communicator& world, const LinkOptions& options) {
  int each = 0;
  for (Rank rank = 0; rank < world.size(); ++rank) each += world.node_of(rank) == world.node_of(0);
  const Communicator node =
      world.split(world.node_of(world.rank()), world.rank(), "profile: the node");
  Level level;
  level.name = "shared memory";
  level.kind = Level::Kind::shared_memory;
  const std::vector<double> groups = group_sizes(each);
  // Buffers of all ranks together, input and output, take a small part of the node's memory.
  constexpr double memory_part = 1.0 / 12;
  double most = memory_part * static_cast<double>(memory_left().bytes) / each;
  all_reduce(world, &most, &most, 1, DType::f64, ReduceOp::min);
  std::vector<double> sizes = message_sizes(options.quick, std::min(most, 1.0 * (1 << 28)));
  // Gradients of a large model are longer than what the caches of all cores hold.
  constexpr double longest = 1 << 29;
  if (!options.quick && most >= longest) sizes.push_back(longest);
  const double budget = options.quick ? 0.01 : 0.1;
  Table flags{{groups}, {}, 'A', options.source};
  for (const Operation operation : all_operations) {
    if (operation == Operation::barrier) continue;
    level.measured[std::string(name_of(operation))] = Table{{groups, sizes}, {}, 'A', options.source};
  }
  for (const double size : groups) {
    const int ranks = static_cast<int>(size);
    // Ranks that are left over form a smaller group, of which nothing is asked.
    const Communicator group = node.split(node.rank() / ranks, node.rank(), "profile: a group");
    const bool whole = group.size() == ranks;
    double flag = whole ? flag_seconds(group) : 0;
    all_reduce(node, &flag, &flag, 1, DType::f64, ReduceOp::max);
    flags.values.push_back(std::max(flag, least_flag));
    for (auto& [name, table] : level.measured) {
      Operation operation = Operation::all_reduce;
      for (const Operation each_operation : all_operations) {
        if (name == name_of(each_operation)) operation = each_operation;
      }
      for (const double bytes : sizes) {
        barrier(node);
        double seconds = 0;
        if (whole) seconds = FreshCollective(group, operation, static_cast<Bytes>(bytes)).time(budget);
        all_reduce(node, &seconds, &seconds, 1, DType::f64, ReduceOp::max);
        const double moved = counted_bytes(operation, static_cast<Bytes>(bytes), ranks);
        table.values.push_back(
            std::max((seconds - 2 * ranks * flags.values.back()) / moved, least_seconds_a_byte));
      }
    }
  }
  const Table& sums = level.measured.at("all_reduce");
  level.latency = {flags.values.back(), 'A', options.source + ": a flag"};
  level.bandwidth = {1 / sums.values.back(), 'A', options.source + ": the longest all-reduce"};
  level.efficiency = {1, 'D', "as measured"};
  level.overhead = {0, 'D', "in the flags"};
  level.measured["flag"] = std::move(flags);
  return level;
}

Level link_level(const Sampler& sampler, double gamma, const LinkOptions& options) {
  const Communicator& world = sampler.world();
  Level level;
  level.name = "network";
  level.kind = Level::Kind::links;
  bool in = false;
  const Communicator pair = pair_of(world, in);
  const std::vector<double> sizes = message_sizes(options.quick, 1 << 25);
  std::vector<double> seconds(sizes.size() + 1, 0.0);
  if (in) {
    const Buffer<float> data(static_cast<Index>(sizes.back() / sizeof(float)));
    constexpr double shortest = 8;
    seconds[0] = exchange_seconds(pair, shortest, data, 0.3);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      seconds[i + 1] = exchange_seconds(pair, sizes[i], data, 0.3);
    }
  }
  all_reduce(world, seconds.data(), seconds.data(), static_cast<Index>(seconds.size()), DType::f64,
             ReduceOp::max);
  Table messages{{sizes}, {}, 'A', options.source};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    messages.values.push_back(
        std::max((seconds[i + 1] - seconds[0]) / sizes[i] - gamma, least_seconds_a_byte));
  }
  const Beside beside = measure_beside(sampler);
  level.latency = {std::max(seconds[0], 1e-9), 'A', options.source + ": 8 bytes to and fro"};
  level.bandwidth = {1 / messages.values.back(), 'A', options.source + ": the longest message"};
  level.efficiency = {1, 'D', "as measured"};
  level.overhead = {seconds[0] / 2, 'E', "half of the latency: both ends work as long"};
  level.beside_slowdown =
      Figure{beside.slowdown, 'A', options.source + ": an all-reduce of 8 MiB beside products"};
  level.beside_cost =
      Figure{beside.cost, 'A', options.source + ": products beside an all-reduce of 8 MiB"};
  level.measured["message"] = std::move(messages);
  return level;
}

}  // namespace shoal::bench
