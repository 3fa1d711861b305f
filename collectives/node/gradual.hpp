// An all-reduce of the ranks of a node that never waits for them.
#pragma once

#include <optional>

#include "node/node_collectives.hpp"
#include "node/staged.hpp"

namespace shoal {

/// What node_all_reduce() does, in steps: whoever has begun it calls advance() now and then. On flags of
/// its own (NodeControl::Beside), one at a time. Costs and paths are those of node_all_reduce(); in
/// between lies whatever the callers do.
class GradualAllReduce {
 public:
  /// Tells the others. `control` and what `call` refers to must outlive this.
  GradualAllReduce(const Call& call, NodeControl& control);
  GradualAllReduce(const GradualAllReduce&) = delete;
  GradualAllReduce& operator=(const GradualAllReduce&) = delete;

  /// A step, of less than a millisecond, of what can be done without the others. True once the result is
  /// there. Throws Error, on all ranks alike, where their calls do not agree or memory is short.
  bool advance();

 private:
  enum class Phase { posted, filling, staged, direct, meeting };
  bool go();
  bool reduce_direct();

  const Call call_;
  NodeControl& control_;
  const bool inlined_;
  bool offered_ = false;
  bool began_ = false;
  Phase phase_ = Phase::posted;
  Index done_ = 0;  // of this rank's segment, directly
  std::optional<StagedAllReduce> staged_;
};

}  // namespace shoal
