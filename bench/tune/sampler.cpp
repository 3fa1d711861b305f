#include "tune/sampler.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/runtime/wait.hpp>

#include "timing.hpp"

namespace shoal::bench {
namespace {

using SampleClock = std::chrono::steady_clock;

// Of a pool, of which there are two: together what a core's caches hold, and then some.
constexpr double least_reach = 12e6;
constexpr double operands_between = 4;
// Where ranks share cores, each must have had several turns of the scheduler.
constexpr double turns = 6;

double since(SampleClock::time_point start) {
  return std::chrono::duration<double>(SampleClock::now() - start).count();
}

}  // namespace

Pool::Pool(Index most) : memory_(most), reach_(most) {
  // Pages of zeros are one page.
  for (Index i = 0; i < most; ++i) memory_[i] = 1e-3f * static_cast<float>(i % 1013);
}

void Pool::reach(double operand_bytes) {
  reach_exactly(std::max(least_reach, operands_between * operand_bytes));
}

void Pool::reach_exactly(double bytes) {
  reach_ = std::min(memory_.size(), static_cast<Index>(bytes / sizeof(float)));
  next_ = 0;
}

float* Pool::take(Index count) {
  constexpr Index line = 16;
  const Index padded = (count + line - 1) / line * line;
  if (next_ + padded > std::max(reach_, padded)) next_ = 0;
  float* const taken = memory_.data() + next_;
  next_ += padded;
  return taken;
}

Sampler::Sampler(const Communicator& world, double seconds)
    : world_(world), seconds_(seconds), shares_cores_(!ranks_own_their_cores()) {
  if (shares_cores_) seconds_ *= turns;
}

double Sampler::time(const std::function<void()>& call) const {
  call();
  barrier(world_);
  std::vector<double> times;
  const auto start = SampleClock::now();
  double spent = 0;
  constexpr int fewest = 4, most_samples = 20000;
  do {
    call();
    const double now = since(start);
    times.push_back(now - spent);
    spent = now;
  } while (static_cast<int>(times.size()) < most_samples &&
           (spent < seconds_ || static_cast<int>(times.size()) < fewest));
  double seconds = shares_cores_ ? spent / static_cast<double>(times.size()) : lower_quartile(times);
  all_reduce(world_, &seconds, &seconds, 1, DType::f64, ReduceOp::max);
  return seconds;
}

}  // namespace shoal::bench
