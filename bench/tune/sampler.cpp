#include "tune/sampler.hpp"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>

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

// Of a core, that the rank which gets the least has while all are busy. Hosts of one machine know
// nothing of each other, nor does a virtual machine of what else its host does.
double least_share_of_a_core(const Communicator& world) {
  constexpr double busy_seconds = 0.03;
  const auto cpu_seconds = [] {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  };
  barrier(world);
  const auto start = SampleClock::now();
  const double cpu_start = cpu_seconds();
  while (since(start) < busy_seconds) {
  }
  double share = (cpu_seconds() - cpu_start) / since(start);
  all_reduce(world, &share, &share, 1, DType::f64, ReduceOp::min);
  return share;
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

Sampler::Sampler(const Communicator& world, double seconds) : world_(world), seconds_(seconds) {
  // More than what the kernel's own work takes.
  constexpr double own_core = 0.8;
  shares_cores_ = least_share_of_a_core(world) < own_core;
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
