#include "pairs.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/point_to_point.hpp>

namespace shoal::launch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int32_t go_on = 1;
constexpr Index bulk_elements = (Index{1} << 20) / 4;
constexpr std::size_t fewest_rounds = 3, most_rounds = 100000;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Messages of `data` to `peer` and back. The leader decides how often, and says so in the first
// element: 0 in the last message.
std::vector<double> ping_pong(const Communicator& world, Rank peer, bool leads,
                              std::vector<std::int32_t>& data, double seconds) {
  const auto count = static_cast<Index>(data.size());
  std::vector<double> times;
  if (!leads) {
    do {
      receive(world, data.data(), count, DType::i32, peer);
      send(world, data.data(), count, DType::i32, peer);
    } while (data[0] == go_on);
    return times;
  }
  const Clock::time_point begin = Clock::now();
  for (bool more = true; more;) {
    more = times.size() < fewest_rounds || (since(begin) < seconds && times.size() < most_rounds);
    data[0] = more ? go_on : 0;
    const Clock::time_point start = Clock::now();
    send(world, data.data(), count, DType::i32, peer);
    receive(world, data.data(), count, DType::i32, peer);
    times.push_back(since(start) / 2);
  }
  return times;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

int tournament_rounds(int ranks) { return ranks < 2 ? 0 : ranks + ranks % 2 - 1; }

Rank partner_in_round(Rank rank, int ranks, int round) {
  // The last of an even number of seats stays, the others move on by one a round.
  const int seats = ranks + ranks % 2;
  const int moving = seats - 1;
  Rank partner = 0;
  if (rank == moving) {
    // The seat that would be its own partner in the rule below: 2 x = round (mod moving).
    partner = static_cast<Rank>((static_cast<std::int64_t>(round) * (moving + 1) / 2) % moving);
  } else {
    partner = ((round - rank) % moving + moving) % moving;
    if (partner == rank) partner = moving;
  }
  return partner < ranks ? partner : -1;
}

std::vector<PairTime> measure_pairs(const Communicator& world, double seconds) {
  constexpr int tag = 1;
  const int rounds = tournament_rounds(world.size());
  std::vector<PairTime> all;
  std::vector<std::int32_t> small(1);
  std::vector<std::int32_t> bulk(static_cast<std::size_t>(bulk_elements));
  for (int round = 0; round < rounds; ++round) {
    barrier(world);
    const Rank peer = partner_in_round(world.rank(), world.size(), round);
    double mine[4] = {-1, -1, 0, 0};
    if (peer >= 0) {
      const bool leads = world.rank() < peer;
      const double share = seconds / rounds / 2;
      const auto latencies = ping_pong(world, peer, leads, small, share);
      const auto times = ping_pong(world, peer, leads, bulk, share);
      if (leads) {
        mine[0] = world.rank();
        mine[1] = peer;
        mine[2] = median(latencies);
        mine[3] = 4.0 * bulk_elements / std::max(1e-9, median(times) - mine[2]);
      }
    }
    if (world.rank() != 0) {
      send(world, mine, 4, DType::f64, 0, tag);
      continue;
    }
    for (Rank from = 0; from < world.size(); ++from) {
      if (from > 0) receive(world, mine, 4, DType::f64, from, tag);
      if (mine[0] >= 0) {
        all.push_back({static_cast<Rank>(mine[0]), static_cast<Rank>(mine[1]), mine[2], mine[3]});
      }
    }
  }
  std::sort(all.begin(), all.end(), [](const PairTime& x, const PairTime& y) {
    return x.a != y.a ? x.a < y.a : x.b < y.b;
  });
  return all;
}

std::vector<ClockSkew> measure_clocks(const Communicator& world) {
  constexpr int tag = 2, tries = 20;
  std::vector<ClockSkew> skews(1);
  double time = 0;
  if (world.rank() != 0) {
    for (int i = 0; i < tries; ++i) {
      receive(world, &time, 1, DType::f64, 0, tag);
      time = now_s();
      send(world, &time, 1, DType::f64, 0, tag);
    }
    return {};
  }
  for (Rank rank = 1; rank < world.size(); ++rank) {
    ClockSkew best{0, 1e9};
    for (int i = 0; i < tries; ++i) {
      const double before = now_s();
      send(world, &before, 1, DType::f64, rank, tag);
      receive(world, &time, 1, DType::f64, rank, tag);
      const double after = now_s();
      if ((after - before) / 2 < best.error_s) {
        best = {time - (before + after) / 2, (after - before) / 2};
      }
    }
    skews.push_back(best);
  }
  return skews;
}

}  // namespace shoal::launch
