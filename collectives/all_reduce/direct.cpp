// All-reduce in two steps: every rank gets its block from all others at once, combines them, and sends
// the result to all. The least data in the fewest steps, for any number of ranks; but p−1 messages to
// and from every rank in each.
//
// Cost: 2·(α + (p−2)·o) + 1.05·2·(p−1)/p·k·n·β + (p−1)/p·n·γ where k ranks share a node's link. (p−1 senders
// to one receiver fill the switch's buffers: measured with 4 and 16 MiB over four hosts at 1 Gbit/s, the
// ring is quicker by a twentieth.)
// Source: Thakur et al. 2005, section 3.2 (pairwise exchange), its steps at once; the flat case of
// Rabenseifner 2004.
#include "all_reduce/planned.hpp"
#include "plan/shapes.hpp"

namespace shoal {
namespace {

class Direct final : public PlannedAllReduce {
 public:
  using PlannedAllReduce::PlannedAllReduce;
  bool reproduces() const noexcept override { return true; }

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double share = static_cast<double>(ranks - 1) / ranks;
    return Seconds(2 * (net.alpha + (ranks - 2) * net.overhead) +
                   share * n * (2 * crowded_links * net.per_node * net.beta + net.gamma));
  }

  Plan plan(Index count, DType, int members, int me, const Network&) const override {
    Plan plan;
    plan.counts = even_counts(count, members);
    const int radices[] = {members};
    add_split_reduce_scatter(plan, radices, me);
    add_split_all_gather(plan, radices, me);
    return plan;
  }
};

}  // namespace

const PlannedAllReduce& all_reduce_direct() {
  static const Direct algorithm({Operation::all_reduce, "direct",
                                 "middle sizes, few ranks: two steps, the least data",
                                 "Thakur et al. 2005, section 3.2; Rabenseifner 2004"});
  return algorithm;
}

}  // namespace shoal
