#include "tune/link_rates.hpp"

#include <algorithm>
#include <chrono>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/kernels/local/gemm.hpp>

#include "timing.hpp"
#include "tune/fresh_collective.hpp"
#include "tune/kernel_rates.hpp"

namespace shoal::bench {
namespace {

using planning::Figure;
using planning::Level;
using planning::Table;

// In a pass; there are several.
constexpr int fewest_calls = 3;
// The longest sizes take too long for more than one pass.
constexpr double most_in_each_pass = 1 << 22;
constexpr double longest_collective = 1 << 24, longest_message = 1 << 25;
constexpr double shortest_message = 8;

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
  return FreshCollective(pair, Operation::all_reduce, static_cast<Bytes>(bytes))
      .time(seconds, fewest_calls);
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
  constexpr int rounds = 3, least_pieces = 8, most_pieces = 128;
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

// Which of the ranks of its node, counted from 0.
int place_on_node(const Communicator& world) {
  int place = 0;
  for (Rank rank = 0; rank < world.rank(); ++rank) {
    place += world.node_of(rank) == world.node_of(world.rank());
  }
  return place;
}

double middle_of_figures(const std::vector<double>& passes) {
  return passes.empty() ? 0 : median(passes);
}

}  // namespace

LinkRates::LinkRates(const Sampler& sampler, const LinkOptions& options)
    : sampler_(sampler),
      options_(options),
      pair_(pair_of(sampler.world(), in_pair_)),
      lane_(sampler.world().split(place_on_node(sampler.world()), sampler.world().rank(),
                                  "profile: a lane")),
      sizes_(profile_sizes(options.quick, std::min(longest_collective, options.most_bytes))),
      message_sizes_(profile_sizes(options.quick, std::min(longest_message, options.most_bytes))),
      messages_(message_sizes_.size() + 1) {
  const Communicator& world = sampler.world();
  for (const bool whole : {false, true}) {
    if (whole && lane_.size() == world.size()) continue;
    for (const double size : profile_groups(world.node_count())) {
      const int nodes = static_cast<int>(size);
      const int first = lane_.rank() / nodes;
      groups_.push_back({nodes,
                         whole ? nodes * (world.size() / lane_.size()) : nodes,
                         whole,
                         whole ? world.split(first, world.rank(), "profile: whole nodes")
                               : lane_.split(first, lane_.rank(), "profile: some nodes"),
                         {}});
    }
  }
}

void LinkRates::pass() {
  pass_messages();
  const Beside beside = measure_beside(sampler_);
  slowdowns_.push_back(beside.slowdown);
  costs_.push_back(beside.cost);
  for (Group& group : groups_) {
    for (const Operation operation : all_operations) {
      if (operation != Operation::barrier) pass_collective(group, operation);
    }
  }
  ++passes_;
}

void LinkRates::pass_messages() {
  const Communicator& world = sampler_.world();
  constexpr double figure_seconds = 0.3 / rate_passes;
  for (std::size_t i = 0; i < messages_.size(); ++i) {
    const double bytes = i == 0 ? shortest_message : message_sizes_[i - 1];
    if (passes_ > 0 && bytes > most_in_each_pass) continue;
    double seconds = in_pair_ ? exchange_seconds(pair_, bytes, figure_seconds) : 0;
    all_reduce(world, &seconds, &seconds, 1, DType::f64, ReduceOp::max);
    messages_[i].push_back(seconds);
  }
  const Flow flow = in_pair_ ? measure_flow(pair_) : Flow{};
  double both[2] = {flow.bytes_per_second, flow.burst};
  all_reduce(world, both, both, 2, DType::f64, ReduceOp::max);
  rates_.push_back(both[0]);
  bursts_.push_back(both[1]);
}

void LinkRates::pass_collective(Group& group, Operation operation) {
  const Communicator& world = sampler_.world();
  // A round begins with a pause of a fiftieth of a second: ten rounds of what is short.
  const double figure_seconds = options_.quick ? 0.01 : 0.6 / rate_passes;
  std::vector<std::vector<double>>& times = group.times[operation];
  times.resize(sizes_.size());
  for (std::size_t i = 0; i < sizes_.size(); ++i) {
    if (passes_ > 0 && sizes_[i] > most_in_each_pass) continue;
    double seconds = 0;
    barrier(world);
    if (group.comm.size() == group.ranks) {
      seconds = FreshCollective(group.comm, operation, static_cast<Bytes>(sizes_[i]))
                    .time(figure_seconds, fewest_calls);
    }
    all_reduce(world, &seconds, &seconds, 1, DType::f64, ReduceOp::max);
    times[i].push_back(seconds);
  }
}

Level LinkRates::level(double gamma) const {
  const std::string& source = options_.source;
  Level level;
  level.name = "network";
  level.kind = Level::Kind::links;
  const double shortest = middle_of_figures(messages_.front());
  Table messages{{message_sizes_}, {}, 'A', source};
  for (std::size_t i = 0; i < message_sizes_.size(); ++i) {
    messages.values.push_back(
        std::max((middle_of_figures(messages_[i + 1]) - shortest) / message_sizes_[i] - gamma,
                 least_seconds_a_byte));
  }
  // No link carries less in the long run than a message has taken of it.
  const double in_the_long_run = middle_of_figures(rates_), burst = middle_of_figures(bursts_);
  const double longest = message_sizes_.back();
  const double of_message = (longest - burst) / longest / messages.values.back();
  const bool message_is_quicker = longest > 2 * burst && of_message > in_the_long_run;
  level.latency = {std::max(shortest, 1e-9), 'A', source + ": 8 bytes to and fro"};
  level.bandwidth = {message_is_quicker ? of_message : in_the_long_run, 'A',
                     source + ": messages one after the other"};
  level.efficiency = {1, 'D', "as measured"};
  level.overhead = {shortest / 2, 'E', "half of the latency: both ends work as long"};
  level.burst_bytes = Figure{burst, 'A', source + ": what passes at first, beyond the rate"};
  level.beside_slowdown = Figure{middle_of_figures(slowdowns_), 'A',
                                 source + ": an all-reduce of 8 MiB beside products"};
  level.beside_cost =
      Figure{middle_of_figures(costs_), 'A', source + ": products beside an all-reduce of 8 MiB"};
  const std::vector<double> nodes = profile_groups(sampler_.world().node_count());
  for (const Group& group : groups_) {
    for (const auto& [operation, of_sizes] : group.times) {
      const std::string name(name_of(operation));
      Table& table = level.measured[group.whole ? planning::whole_nodes_table(name) : name];
      if (table.empty()) table = Table{{nodes, sizes_}, {}, 'A', source};
      for (std::size_t i = 0; i < sizes_.size(); ++i) {
        table.values.push_back(
            std::max(middle_of_figures(of_sizes[i]) / sizes_[i], least_seconds_a_byte));
      }
    }
  }
  level.measured["message"] = std::move(messages);
  return level;
}

}  // namespace shoal::bench
