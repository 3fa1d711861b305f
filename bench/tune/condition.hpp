// How quick the machine is at the moment: a profile says how quick it was when it was measured.
#pragma once

#include <functional>
#include <vector>

#include <shoal/planning/profile.hpp>

#include "tune/sampler.hpp"

namespace shoal::bench {

/// Seconds of a product and of a long sum, which all ranks work at, and of a barrier over all of them.
/// Processors throttle, and virtual ones are moved: from cores of their own to threads of one, say. In
/// a tenth of a second this tells whether they have been.
struct Probe {
  double product = 0, stream = 0, meeting = 0;
};

/// Takes probes, of the slowest rank. Every call is collective, and gives all ranks the same.
class ConditionProbe {
 public:
  explicit ConditionProbe(const Communicator& world);
  Probe take();
  /// All that were taken.
  const std::vector<Probe>& taken() const noexcept { return taken_; }

 private:
  Sampler sampler_;
  Pool pool_;
  std::vector<Probe> taken_;
};

/// Figure by figure the middle of several.
Probe middle_of(const std::vector<Probe>& probes);
/// How many times as long, or as short, products took in `probe` as in `from`; 1: the same. The same of
/// sums; of both, the larger; of the barrier, which scatters more.
double product_apart(const Probe& probe, const Probe& from);
double stream_apart(const Probe& probe, const Probe& from);
double work_apart(const Probe& probe, const Probe& from);
double meeting_apart(const Probe& probe, const Probe& from);
/// From so much on the machine was not in the condition that it is compared with: probes of a machine that
/// nothing happens to scatter by some 5 %, barriers by a quarter.
inline constexpr double work_tolerance = 1.15, meeting_tolerance = 1.5;

/// Probes as a profile keeps them: the middle of all, and how far they were apart.
planning::Condition condition_of(const std::vector<Probe>& probes, const std::string& source);
/// A profile's, as a probe.
Probe probe_of(const planning::Condition& condition);

}  // namespace shoal::bench
