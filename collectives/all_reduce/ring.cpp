// All-reduce around a ring: reduce-scatter, then all-gather, each in p−1 steps between neighbours.
// The least data whatever p, and no rank talks to more than two: the choice for long messages. Blocks
// travel in segments (plan/pipeline.hpp), so that a step starts before the one before has ended: the
// wire is busy from the first segment to the last.
//
// Cost: 2·(p−1)·(α + n/p·β) + (p−1)·s·γ with segments of s bytes, the rest of the combination hides
// behind the wire. Ranks of a node that follow each other share no link.
// Source: Patarasuk & Yuan 2009, Bandwidth optimal all-reduce algorithms for clusters of
// workstations; Worringen 2003, Pipelining and overlapping for MPI collective operations.
#include <algorithm>

#include "all_reduce/planned.hpp"
#include "plan/pipeline.hpp"
#include "plan/segments.hpp"
#include "plan/shapes.hpp"

namespace shoal {
namespace {

class Ring final : public PlannedAllReduce {
 public:
  using PlannedAllReduce::PlannedAllReduce;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double block = static_cast<double>(bytes) / ranks;
    const double segment = std::min(block, static_cast<double>(most_segment_bytes()));
    return Seconds(2 * (ranks - 1) * (net.alpha + block * net.beta) +
                   (ranks - 1) * segment * net.gamma);
  }

  Plan plan(Index count, DType, int members, int me, const Network&) const override {
    Plan plan;
    plan.counts = even_counts(count, members);
    add_ring_reduce_scatter(plan, members, me, 0, Direction::up);
    add_ring_all_gather(plan, members, me, 0, Direction::up);
    return plan;
  }
};

}  // namespace

const PlannedAllReduce& all_reduce_ring() {
  static const Ring algorithm({Operation::all_reduce, "ring",
                               "long messages: the least data, neighbours only",
                               "Patarasuk & Yuan 2009; Worringen 2003"});
  return algorithm;
}

}  // namespace shoal
