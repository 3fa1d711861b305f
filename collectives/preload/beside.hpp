// Non-blocking calls over several nodes: a thread does them, one after the other, as blocking ones.
#pragma once

#include <memory>

#include <shoal/collectives/registry.hpp>
#include <shoal/collectives/work.hpp>
#include <shoal/runtime/communicator.hpp>

#include "preload/between.hpp"
#include "progress/queue.hpp"

namespace shoal::preload {

/// After so many non-blocking calls on a communicator over several nodes the next blocking one makes
/// what they need: see calls_before_connecting, of which they count as well.
inline constexpr int calls_before_beside = 8;

/// A thread, and connections apart from those of the blocking calls, which the program may make
/// meanwhile. The thread calls no MPI, so that any thread level will do.
class Beside {
 public:
  /// Collective. The ranks of `comm`, which are on several nodes and reach each other by connections.
  explicit Beside(const Communicator& comm);

  /// The same on all ranks. False: their non-blocking calls are MPI's.
  bool usable() const noexcept { return usable_; }
  /// Hands the call, on any communicator of these ranks, to the thread. All ranks hand over the same.
  Work begin(const Call& call, const Algorithm& algorithm);
  /// What has not ended fails.
  void give_up() noexcept { queue_->give_up(); }

 private:
  std::unique_ptr<WorkQueue> queue_;
  std::unique_ptr<Between> ways_;  // of the queue's communicator
  bool usable_ = false;
};

}  // namespace shoal::preload
