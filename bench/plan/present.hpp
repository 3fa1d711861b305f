// The machine that a check finds: a profile tells what it was when it was tuned.
#pragma once

#include <chrono>
#include <vector>

#include <shoal/planning/profile.hpp>
#include <shoal/runtime/communicator.hpp>

#include "tune/condition.hpp"
#include "tune/sampler.hpp"

namespace shoal::bench {

/// Brings a profile to the condition that its machine is in at the moment: kernels by how much
/// longer the probe takes than when they were measured, and what ranks exchange by measuring it
/// anew, as `tune` does, in one pass, once in each condition that the machine is met in. What is
/// predicted is no part of either. Every call is collective.
class PresentMachine {
 public:
  /// `tuned` outlives it.
  PresentMachine(const Communicator& world, const planning::Cluster& tuned, ConditionProbe& probe);

  /// Takes a probe. If exchanges were not yet measured in a condition like it, measures them and
  /// takes another, unless more than a fifth of the time would go into it.
  Probe look();
  /// The profile of a machine that is between two probes.
  planning::Cluster between(const Probe& before, const Probe& after) const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Exchanges {
    Probe condition;
    std::vector<planning::Level> levels;
  };

  Probe measure_exchanges();
  bool may_measure() const;
  const Exchanges* nearest(const Probe& probe) const;

  const Communicator& world_;
  const planning::Cluster& tuned_;
  ConditionProbe& probe_;
  Sampler sampler_;
  std::vector<Exchanges> met_;
  Clock::time_point start_ = Clock::now();
  double spent_ = 0, last_ = 0;  // seconds, in all and of the last time
};

}  // namespace shoal::bench
