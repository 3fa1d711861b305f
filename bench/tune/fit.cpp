#include "tune/fit.hpp"

#include <algorithm>
#include <chrono>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/runtime/buffer.hpp>

#include "timing.hpp"

namespace shoal::bench {
namespace {

using Clock = std::chrono::steady_clock;

// What a size may take in all, and how often it is tried at least and at most.
constexpr double budget = 0.1;
constexpr int fewest = 3, most_tries = 200;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// What both ranks of `pair` take to send each other so much.
double exchange_time(const Communicator& pair, Bytes bytes, const Buffer<float>& data) {
  const auto count = static_cast<Index>(bytes / sizeof(float));
  const auto exchange = [&] {
    const auto start = Clock::now();
    all_reduce(pair, data.data(), data.data(), count, DType::f32, ReduceOp::max,
               {"recursive_doubling"});
    return seconds_since(start);
  };
  exchange();
  double once = exchange();
  all_reduce(pair, &once, &once, 1, DType::f64, ReduceOp::max);  // both are to try as often
  const int tries =
      static_cast<int>(std::clamp(budget / std::max(once, 1e-9), double{fewest}, double{most_tries}));
  std::vector<double> times;
  for (int i = 0; i < tries; ++i) times.push_back(exchange());
  double middle = median(times);
  all_reduce(pair, &middle, &middle, 1, DType::f64, ReduceOp::max);
  return middle;
}

double reduce_seconds_per_byte() {
  constexpr Index count = Index{1} << 20;
  const Buffer<float> into(count);
  const Buffer<float> from(count);
  std::vector<double> times;
  for (int i = 0; i < 7; ++i) {
    const auto start = Clock::now();
    for (Index k = 0; k < count; ++k) into[k] += from[k];
    times.push_back(seconds_since(start) / (sizeof(float) * static_cast<double>(count)));
  }
  return median(times);
}

}  // namespace

Network measure_level(const Communicator& world, Rank a, Rank b, Bytes most) {
  const bool in = world.rank() == a || world.rank() == b;
  const Communicator pair = world.split(in ? 0 : 1, world.rank(), "tune two ranks");
  Network network{1e-6, 1e-9, 1e-10};
  if (in) {
    constexpr double least = 1e-15;
    constexpr double least_time = 0.1;
    const Buffer<float> data(static_cast<Index>(most / sizeof(float)));
    network.gamma = reduce_seconds_per_byte();
    network.alpha = std::max(exchange_time(pair, 8, data), 1e-9);
    Bytes bytes = std::min(most, Bytes{1} << 20);
    double half = exchange_time(pair, bytes / 2, data);
    double whole = exchange_time(pair, bytes, data);
    while (whole < least_time && bytes < most) {
      bytes *= 2;
      half = whole;
      whole = exchange_time(pair, bytes, data);
    }
    const double a_byte = (whole - half) / static_cast<double>(bytes - bytes / 2);
    network.beta = std::max(a_byte - network.gamma, least);
  }
  barrier(world);
  return network;
}

}  // namespace shoal::bench
