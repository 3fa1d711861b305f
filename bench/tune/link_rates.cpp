#include "tune/link_rates.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/memory_left.hpp>

#include "timing.hpp"
#include "tune/fresh_collective.hpp"
#include "tune/kernel_rates.hpp"

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

Operation operation_named(const std::string& name) {
  return *std::find_if(std::begin(all_operations), std::end(all_operations),
                       [&](Operation each) { return name == name_of(each); });
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
double exchange_seconds(const Communicator& pair, double bytes, double seconds) {
  return FreshCollective(pair, Operation::all_reduce, static_cast<Bytes>(bytes)).time(seconds);
}

// What a link lets pass in the long run, and what more at first, after a rest.
struct Flow {
  double bytes_per_second = 0, burst = 0;
};

// Both send each other a mebibyte, one after the other: bytes over time are a line in the second half,
// and where that meets the beginning is the burst.
Flow measure_flow(const Communicator& pair) {
  constexpr double piece = 1 << 20;
  constexpr double least_seconds = 0.15;
  constexpr int rounds = 5, least_pieces = 8, most_pieces = 128;
  FreshCollective collective(pair, Operation::all_gather, static_cast<Bytes>(2 * piece));
  const auto run = [&](int pieces) {
    pause_between_nodes();
    barrier(pair);
    std::vector<double> times;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < pieces; ++i) {
      collective.run();
      times.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return times;
  };
  double first = run(least_pieces).back() / least_pieces;
  all_reduce(pair, &first, &first, 1, DType::f64, ReduceOp::max);
  const int pieces = static_cast<int>(
      std::clamp(least_seconds / std::max(first, 1e-9), double{least_pieces}, double{most_pieces}));
  std::vector<double> rates, bursts;
  for (int round = 0; round < rounds; ++round) {
    const std::vector<double> times = run(pieces);
    const int half = pieces / 2;
    const double middle = times[static_cast<std::size_t>(half - 1)];
    const double rate = piece * (pieces - half) / std::max(times.back() - middle, 1e-9);
    rates.push_back(rate);
    bursts.push_back(piece * half - rate * middle);
  }
  double both[2] = {median(rates), median(bursts)};
  all_reduce(pair, both, both, 2, DType::f64, ReduceOp::min);
  return {both[0], std::max(both[1], 0.0)};
}

// Every collective over 2, 4, 8, ... nodes, of ranks that have one place on their nodes in common, all
// such groups at once; and where nodes have several ranks, of all of them: seconds a byte.
// A machine that is otherwise at the end of a table than it was on the whole gets some more tries at it.
std::map<std::string, Table> node_collectives(const Communicator& world, const LinkOptions& options,
                                              ConditionProbe& probe) {
  std::map<std::string, Table> tables;
  const std::vector<double> groups = group_sizes(world.node_count());
  std::vector<double> sizes = message_sizes(options.quick, 1 << 24);
  int place = 0;
  for (Rank rank = 0; rank < world.rank(); ++rank) {
    place += world.node_of(rank) == world.node_of(world.rank());
  }
  const Communicator lane = world.split(place, world.rank(), "profile: a lane");
  const double figure_seconds = options.quick ? 0.01 : 0.15;
  const bool several = lane.size() < world.size();
  for (const Operation operation : all_operations) {
    if (operation == Operation::barrier) continue;
    for (const bool whole : {false, true}) {
      if (whole && !several) continue;
      const std::string name(name_of(operation));
      const std::string key = whole ? planning::whole_nodes_table(name) : name;
      constexpr int tries = 3;
      double nearest = 0;
      for (int i = 0; i < (options.quick ? 1 : tries); ++i) {
        Table table{{groups, sizes}, {}, 'A', options.source};
        for (const double size : groups) {
          const int nodes = static_cast<int>(size);
          const int first = lane.rank() / nodes;
          const Communicator group = whole ? world.split(first, world.rank(), "profile: whole nodes")
                                           : lane.split(first, lane.rank(), "profile: some nodes");
          const int ranks = whole ? nodes * (world.size() / lane.size()) : nodes;
          for (const double bytes : sizes) {
            double seconds = 0;
            barrier(world);
            if (group.size() == ranks) {
              seconds =
                  FreshCollective(group, operation, static_cast<Bytes>(bytes)).time(figure_seconds);
            }
            all_reduce(world, &seconds, &seconds, 1, DType::f64, ReduceOp::max);
            table.values.push_back(std::max(seconds / bytes, least_seconds_a_byte));
          }
        }
        // Of all ranks alike, so that all try as often.
        const double apart = stream_apart(probe.take(), middle_of(probe.taken()));
        if (i == 0 || apart < nearest) {
          nearest = apart;
          tables[key] = std::move(table);
        }
        if (nearest < work_tolerance) break;
      }
    }
  }
  return tables;
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
  const double figure_seconds = options.quick ? 0.01 : 0.1 / rate_passes;
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
    std::map<std::string, std::vector<std::vector<double>>> of_passes;  // by size, then pass
    std::vector<Operation> operations;
    double quickest = 1;
    for (const auto& [name, table] : level.measured) {
      const Operation operation = operation_named(name);
      of_passes[name].resize(sizes.size());
      operations.push_back(operation);
    }
    // As with kernels the middle of some passes counts. The longest sizes take too long for more than one.
    for (int pass = 0; pass < (options.quick ? 1 : rate_passes); ++pass) {
      for (const Operation operation : operations) {
        for (std::size_t i = 0; i < sizes.size(); ++i) {
          constexpr double most_again = 1 << 24;
          if (pass > 0 && sizes[i] > most_again) continue;
          barrier(node);
          double seconds = 0;
          if (whole) {
            seconds = FreshCollective(group, operation, static_cast<Bytes>(sizes[i])).time(figure_seconds);
          }
          all_reduce(node, &seconds, &seconds, 1, DType::f64, ReduceOp::max);
          of_passes[std::string(name_of(operation))][i].push_back(seconds);
        }
      }
    }
    std::map<std::string, std::vector<double>> calls;
    for (const auto& [name, all] : of_passes) {
      for (const std::vector<double>& times : all) calls[name].push_back(median(times));
      quickest = std::min(quickest, *std::min_element(calls[name].begin(), calls[name].end()));
    }
    // A barrier's flags may take longer than a whole short call, whose data travel with them: what a
    // call takes beyond its flags has to stay above nothing, or there is nothing to go on between sizes.
    flag = std::min(flag, quickest / 2 / (2 * ranks));
    flags.values.push_back(std::max(flag, least_flag));
    for (auto& [name, table] : level.measured) {
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        const double moved = counted_bytes(operation_named(name), static_cast<Bytes>(sizes[i]), ranks);
        table.values.push_back(std::max(
            (calls.at(name)[i] - 2 * ranks * flags.values.back()) / moved, least_seconds_a_byte));
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

Level link_level(const Sampler& sampler, double gamma, const LinkOptions& options,
                 ConditionProbe& probe) {
  const Communicator& world = sampler.world();
  Level level;
  level.name = "network";
  level.kind = Level::Kind::links;
  bool in = false;
  const Communicator pair = pair_of(world, in);
  const std::vector<double> sizes = message_sizes(options.quick, 1 << 25);
  std::vector<double> seconds(sizes.size() + 1, 0.0);
  double flow[2] = {0, 0};
  if (in) {
    constexpr double shortest = 8, figure_seconds = 0.3;
    seconds[0] = exchange_seconds(pair, shortest, figure_seconds);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      seconds[i + 1] = exchange_seconds(pair, sizes[i], figure_seconds);
    }
    const Flow measured = measure_flow(pair);
    flow[0] = measured.bytes_per_second;
    flow[1] = measured.burst;
  }
  all_reduce(world, seconds.data(), seconds.data(), static_cast<Index>(seconds.size()), DType::f64,
             ReduceOp::max);
  all_reduce(world, flow, flow, 2, DType::f64, ReduceOp::max);
  Table messages{{sizes}, {}, 'A', options.source};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    messages.values.push_back(
        std::max((seconds[i + 1] - seconds[0]) / sizes[i] - gamma, least_seconds_a_byte));
  }
  const Beside beside = measure_beside(sampler);
  // No link carries less in the long run than a message has taken of it.
  const double long_message = 1 / messages.values.back();
  const bool message_is_quicker =
      sizes.back() > 2 * flow[1] && (sizes.back() - flow[1]) / sizes.back() * long_message > flow[0];
  const double rate = message_is_quicker ? (sizes.back() - flow[1]) / sizes.back() * long_message : flow[0];
  level.latency = {std::max(seconds[0], 1e-9), 'A', options.source + ": 8 bytes to and fro"};
  level.bandwidth = {rate, 'A', options.source + ": messages one after the other"};
  level.efficiency = {1, 'D', "as measured"};
  level.overhead = {seconds[0] / 2, 'E', "half of the latency: both ends work as long"};
  level.burst_bytes = Figure{flow[1], 'A', options.source + ": what passes at first, beyond the rate"};
  level.beside_slowdown =
      Figure{beside.slowdown, 'A', options.source + ": an all-reduce of 8 MiB beside products"};
  level.beside_cost =
      Figure{beside.cost, 'A', options.source + ": products beside an all-reduce of 8 MiB"};
  level.measured = node_collectives(world, options, probe);
  level.measured["message"] = std::move(messages);
  return level;
}

}  // namespace shoal::bench
