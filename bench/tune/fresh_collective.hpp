// A collective as a program meets it: on what its ranks have just written.
#pragma once

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// Lets a limited link, or a switch, gain what it lets pass at once: what it takes when that is spent is
/// priced apart (planning::Level::burst_bytes).
void pause_between_nodes();

/// A collective of fp32 sums in node-shared buffers; an all-reduce goes in place, as those of training
/// do. Every rank makes the same one.
class FreshCollective {
 public:
  /// `bytes`: of the longer of input and output, rounded down to equal blocks, one element at least.
  FreshCollective(const Communicator& comm, Operation operation, Bytes bytes);
  Bytes bytes() const noexcept { return static_cast<Bytes>(each_) * comm_.size() * sizeof(float); }
  /// Seconds of the slowest rank, the lower quartile of several calls (between nodes the mean
  /// of the middle half, since there waiting is part of it): each rank writes its input, all meet, and then call;
  /// between nodes after a pause. So often as takes about `budget` seconds, `fewest` times at
  /// least. Collective.
  double time(double budget, int fewest = 5);
  /// One call, without writing and meeting before.
  void run();

 private:
  void write();

  const Communicator& comm_;
  Operation operation_;
  Index each_;  // elements of a rank's block
  Buffer<float> in_, out_;
};

}  // namespace shoal::bench
