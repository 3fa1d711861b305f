#include "tune/fit.hpp"

#include <algorithm>
#include <chrono>

#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/point_to_point.hpp>
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

// One way. The first exchange tells both how many follow.
double message_time(const Communicator& world, bool first, Rank other, Index bytes,
                    std::byte* data) {
  const auto exchange = [&] {
    const auto start = Clock::now();
    if (first) send(world, data, bytes, DType::i8, other);
    receive(world, data, bytes, DType::i8, other);
    if (!first) send(world, data, bytes, DType::i8, other);
    return seconds_since(start) / 2;
  };
  exchange();
  const double once = exchange();
  std::int32_t tries = static_cast<std::int32_t>(
      std::clamp(budget / std::max(2 * once, 1e-9), double{fewest}, double{most_tries}));
  if (first) {
    send(world, &tries, 1, DType::i32, other);
  } else {
    receive(world, &tries, 1, DType::i32, other);
  }
  std::vector<double> times;
  for (std::int32_t i = 0; i < tries; ++i) times.push_back(exchange());
  return median(times);
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

Line fit_line(const std::vector<std::pair<double, double>>& points) {
  // Weights 1/seconds²: the normal equations of the relative errors.
  double s = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (const auto& [bytes, seconds] : points) {
    const double weight = 1 / (seconds * seconds);
    s += weight;
    sx += weight * bytes;
    sy += weight * seconds;
    sxx += weight * bytes * bytes;
    sxy += weight * bytes * seconds;
  }
  const double determinant = s * sxx - sx * sx;
  Line line;
  if (determinant > 0) {
    line.beta = (s * sxy - sx * sy) / determinant;
    line.alpha = (sy - line.beta * sx) / s;
  }
  constexpr double least = 1e-15;
  return {std::max(line.alpha, least), std::max(line.beta, least)};
}

Network measure_level(const Communicator& world, Rank a, Rank b, Bytes most) {
  barrier(world);
  Network network{1e-6, 1e-9, 1e-10};
  if (world.rank() == a || world.rank() == b) {
    const bool first = world.rank() == a;
    const Buffer<std::byte> data(static_cast<Index>(most));
    std::vector<std::pair<double, double>> points;
    for (Bytes bytes = 8; bytes <= most; bytes *= 4) {
      points.emplace_back(bytes, message_time(world, first, first ? b : a,
                                              static_cast<Index>(bytes), data.data()));
    }
    const Line line = fit_line(points);
    network.alpha = std::max(line.alpha, 1e-9);
    network.beta = line.beta;
    network.gamma = reduce_seconds_per_byte();
  }
  barrier(world);
  return network;
}

}  // namespace shoal::bench
