// How a profile's kernels are timed: by all ranks at once, out of memory that others have used since.
#pragma once

#include <functional>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// Floats that are handed out in turns, so that what a call works on was last touched as long ago as
/// in a training step, where other operations come between.
class Pool {
 public:
  /// `most` floats.
  explicit Pool(Index most);
  /// From now on hands out of so much memory as a step would touch between two uses of operands of
  /// so many bytes: no less than a third-level cache holds, and several operands.
  void reach(double operand_bytes);
  /// From now on hands out of so many bytes, or of all it has.
  void reach_exactly(double bytes);
  float* take(Index count);
  Index size() const noexcept { return memory_.size(); }

 private:
  Buffer<float> memory_;
  Index reach_ = 0;
  Index next_ = 0;
};

/// Times calls that every rank of `world` makes at the same time.
class Sampler {
 public:
  /// `seconds`: for one figure, about. Measures whether each rank gets a core. Collective.
  Sampler(const Communicator& world, double seconds);
  /// Seconds of a call on the slowest rank, for which the others wait; of each rank the lower
  /// quartile of several calls, since what else goes on in a machine only adds. Where ranks do not
  /// get a core each, in one host or in several of one machine, whole turns are timed with what the
  /// others take of them. Collective.
  double time(const std::function<void()>& call) const;
  const Communicator& world() const noexcept { return world_; }
  bool shares_cores() const noexcept { return shares_cores_; }

 private:
  const Communicator& world_;
  double seconds_;
  bool shares_cores_ = false;
};

}  // namespace shoal::bench
