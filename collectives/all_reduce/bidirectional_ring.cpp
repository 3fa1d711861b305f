// All-reduce around two rings: half of the data goes up the ranks, the other half down. A rank then
// sends to both neighbours and receives from both.
//
// On a network where a link carries both ways at once one ring already fills both ways of every
// rank's link, and the bound 2·(p−1)/p·n·β stays what it is. Two rings help where a single connection
// is slower than the link (one connection's share of a processor, of several bonded links, or of a
// route with long delay), and where neighbours have links of their own (a torus). They cost twice the
// messages.
//
// Cost: 2·(p−1)·(α + o + n/p·β) + (p−1)·s·γ with segments of s bytes.
// Source: Chan, Heimlich, Purkayastha & van de Geijn 2007, Collective communication: theory, practice,
// and experience (bidirectional exchange on rings); Patarasuk & Yuan 2009.
#include <algorithm>

#include "all_reduce/planned.hpp"
#include "plan/pipeline.hpp"
#include "plan/segments.hpp"
#include "plan/shapes.hpp"

namespace shoal {
namespace {

class BidirectionalRing final : public PlannedAllReduce {
 public:
  using PlannedAllReduce::PlannedAllReduce;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double block = static_cast<double>(bytes) / ranks;
    const double segment = std::min(block, static_cast<double>(most_segment_bytes()));
    return Seconds(2 * (ranks - 1) * (net.alpha + net.overhead + block * net.beta) +
                   (ranks - 1) * segment * net.gamma);
  }

  Plan plan(Index count, DType, int members, int me, const Network&) const override {
    Plan up;
    add_ring_reduce_scatter(up, members, me, 0, Direction::up);
    add_ring_all_gather(up, members, me, 0, Direction::up);
    Plan down;
    add_ring_reduce_scatter(down, members, me, members, Direction::down);
    add_ring_all_gather(down, members, me, members, Direction::down);
    Plan plan;
    plan.counts = even_counts(count, 2 * members);
    plan.around = true;
    for (std::size_t i = 0; i < up.rounds.size(); ++i) {
      plan.rounds.push_back(up.rounds[i]);
      plan.rounds.push_back(down.rounds[i]);
    }
    return plan;
  }
};

}  // namespace

const PlannedAllReduce& all_reduce_bidirectional_ring() {
  static const BidirectionalRing algorithm(
      {Operation::all_reduce, "bidirectional_ring",
       "long messages where one connection does not fill a link",
       "Chan, Heimlich, Purkayastha & van de Geijn 2007; Patarasuk & Yuan 2009"});
  return algorithm;
}

}  // namespace shoal
