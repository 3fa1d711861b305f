#include "collectives/crossing.hpp"

#include <chrono>
#include <vector>

#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/broadcast.hpp>

#include "timing.hpp"
#include "tune/fresh_collective.hpp"

namespace shoal::bench {

Crossing measure_crossing(const Communicator& world) {
  constexpr int meetings = 2000;
  constexpr Bytes piece = 512 << 10;  // fits a second-level cache
  constexpr double seconds = 0.02;
  const bool in = world.rank() < 2;
  const Communicator pair = world.split(in ? 0 : 1, world.rank(), "bench: two cores");
  double both[2] = {0, 0};
  if (in) {
    std::vector<double> times;
    constexpr int batch = 50;
    for (int i = 0; i < meetings; i += batch) {
      const auto start = std::chrono::steady_clock::now();
      for (int call = 0; call < batch; ++call) barrier(pair);
      times.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / batch);
    }
    both[0] = median(times);
    FreshCollective copy(pair, Operation::broadcast, piece);
    both[1] = static_cast<double>(copy.bytes()) / copy.time(seconds);
  }
  broadcast(world, both, 2, DType::f64, 0);
  return {both[0], both[1]};
}

}  // namespace shoal::bench
