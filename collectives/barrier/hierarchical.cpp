// Barrier in two levels: the ranks of a node meet in its memory, one of each node meets the others by
// dissemination, and its node hears of it.
//
// Cost, with N nodes of up to k ranks: ⌈log2 N⌉·α + 2·k flags.
// Source: Hensgen, Finkel & Manber 1988 between the nodes; Graham & Shipman 2008 inside.
#include "algorithm.hpp"
#include "barrier/by_plan.hpp"
#include "node/groups.hpp"
#include "node/node_collectives.hpp"

namespace shoal {
namespace {

class Hierarchical final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_no_hierarchy(*call.comm); }

  Seconds cost(Bytes, int, const Network& net) const noexcept override {
    return Seconds(log2_ceil(net.nodes) * net.alpha + 2 * net.per_node * net.node_alpha);
  }

  void run(const Call& call) const override {
    const NodeGroups& groups = call.comm->extension<NodeGroups>();
    Call inside = call;
    inside.comm = &groups.local();
    if (groups.local().size() > 1) node_barrier(inside, NodePath::any);
    if (groups.place() == 0) dissemination_barrier(*call.comm, groups.lane(0), groups.node());
    if (groups.local().size() > 1) node_barrier(inside, NodePath::any);
  }
};

}  // namespace

const Algorithm& barrier_hierarchical() {
  static const Hierarchical algorithm({Operation::barrier, "hierarchical",
                                       "several ranks a node: one of each meets the others",
                                       "Hensgen, Finkel & Manber 1988; Graham & Shipman 2008"});
  return algorithm;
}

}  // namespace shoal
