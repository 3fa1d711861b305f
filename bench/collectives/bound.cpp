#include "collectives/bound.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/point_to_point.hpp>
#include <shoal/runtime/buffer.hpp>

namespace shoal::bench {
namespace {

constexpr Index short_message = 8;
// Switches and limited links let the first part of a message pass faster than the rest: the rate is that
// of the second half of one that takes a while.
constexpr Index first_length = Index{2} << 20;
constexpr Index last_length = Index{32} << 20;
constexpr double long_enough = 0.1;  // seconds

std::vector<Rank> first_ranks(const Communicator& world) {
  std::vector<Rank> first(static_cast<std::size_t>(world.node_count()), -1);
  for (Rank rank = 0; rank < world.size(); ++rank) {
    Rank& known = first[static_cast<std::size_t>(world.node_of(rank))];
    if (known < 0) known = rank;
  }
  return first;
}

// One way, in seconds: half of the quickest of some exchanges. On the two ranks.
double one_way(const Communicator& world, Rank a, Rank b, Index bytes, int tries, std::byte* data) {
  double best = 1e300;
  for (int i = 0; i < tries; ++i) {
    const auto start = std::chrono::steady_clock::now();
    if (world.rank() == a) {
      send(world, data, bytes, DType::i8, b);
      receive(world, data, bytes, DType::i8, b);
    } else {
      receive(world, data, bytes, DType::i8, a);
      send(world, data, bytes, DType::i8, a);
    }
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    best = std::min(best, spent.count() / 2);
  }
  return best;
}

double seconds_a_byte(const Communicator& world, Rank a, Rank b, std::byte* data) {
  constexpr int tries = 3;
  Index bytes = first_length;
  double half = one_way(world, a, b, bytes / 2, tries, data);
  for (;;) {
    double whole = one_way(world, a, b, bytes, tries, data);
    // Both have to come to the same end: the first one's clock decides.
    if (world.rank() == a) {
      send(world, &whole, 1, DType::f64, b);
      send(world, &half, 1, DType::f64, b);
    } else {
      receive(world, &whole, 1, DType::f64, a);
      receive(world, &half, 1, DType::f64, a);
    }
    if (whole >= long_enough || bytes >= last_length) {
      return std::max(whole - half, 0.0) / static_cast<double>(bytes - bytes / 2);
    }
    half = whole;
    bytes *= 2;
  }
}

}  // namespace

Link measure_link(const Communicator& world) {
  if (world.on_one_node()) return {};
  const std::vector<Rank> first = first_ranks(world);
  const Buffer<std::byte> data(last_length);
  double worst[2] = {0, 0};  // seconds of a short message, seconds a byte
  for (std::size_t node = 0; node < first.size(); ++node) {
    const Rank a = first[node];
    const Rank b = first[(node + 1) % first.size()];
    barrier(world);  // one link at a time
    if (world.rank() != a && world.rank() != b) continue;
    const double latency = one_way(world, a, b, short_message, 30, data.data());
    worst[0] = std::max(worst[0], latency);
    worst[1] = std::max(worst[1], seconds_a_byte(world, a, b, data.data()));
  }
  all_reduce(world, worst, worst, 2, DType::f64, ReduceOp::max);
  return {worst[0], 1 / std::max(worst[1], 1e-15)};
}

double wire_bound(Operation operation, Bytes bytes, const Communicator& world, const Link& link) {
  if (world.on_one_node() || link.bytes_per_second <= 0) return 0;
  std::vector<int> ranks_on(static_cast<std::size_t>(world.node_count()), 0);
  for (Rank rank = 0; rank < world.size(); ++rank) {
    ++ranks_on[static_cast<std::size_t>(world.node_of(rank))];
  }
  const double n = static_cast<double>(bytes);
  const double nodes = world.node_count();
  double most = 0;
  for (const int ranks : ranks_on) {
    const double elsewhere = 1 - static_cast<double>(ranks) / world.size();
    switch (operation) {
      case Operation::all_reduce: most = 2 * (nodes - 1) / nodes * n; break;
      case Operation::reduce_scatter:
      case Operation::all_gather: most = std::max(most, elsewhere * n); break;
      case Operation::broadcast: most = n; break;
      case Operation::all_to_all: most = std::max(most, ranks * elsewhere * n); break;
      case Operation::barrier: break;
    }
  }
  return link.alpha + most / link.bytes_per_second;
}

}  // namespace shoal::bench
