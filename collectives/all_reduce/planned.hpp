// All-reduces that are given as a plan (plan/plan.hpp): over all ranks, or between the nodes.
#pragma once

#include "algorithm.hpp"
#include "plan/plan.hpp"

namespace shoal {

class PlannedAllReduce : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  /// What member `me` of `members` does with `count` elements of `type`. All members get plans that
  /// fit together from the same arguments.
  virtual Plan plan(Index count, DType type, int members, int me,
                    const Network& network) const = 0;
  void run(const Call& call) const override;
};

}  // namespace shoal
