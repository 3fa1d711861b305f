// Every collective of a node on private buffers: data passes, in chunks that stay in the
// second-level cache, through a staging area of each rank.
//
// Cost: a meeting a chunk; memory sees each byte of the user's buffers once in and once out.
#include "node/node_algorithm.hpp"

namespace shoal {
namespace {

class NodeStaged final : public NodeAlgorithm {
 public:
  NodeStaged(Operation of, Collective collective)
      : NodeAlgorithm(
            {of, "node_staged", "one node, any buffers: through cache-sized shared chunks",
             "Graham & Shipman 2008, MPI support for multi-core architectures; Jain et al. 2018, "
             "XPMEM collectives"},
            collective, NodePath::staged) {}
  std::string why_not(const Call& call) const override { return why_no_node_path(call); }
  Seconds cost(Bytes bytes, int ranks, const Network&) const noexcept override {
    return node_cost::seconds(ranks, moved(bytes), node_cost::staged_beta);
  }
};

}  // namespace

const Algorithm& all_reduce_node_staged() {
  static const NodeStaged algorithm(Operation::all_reduce, node_all_reduce);
  return algorithm;
}

const Algorithm& reduce_scatter_node_staged() {
  static const NodeStaged algorithm(Operation::reduce_scatter, node_reduce_scatter);
  return algorithm;
}

const Algorithm& all_gather_node_staged() {
  static const NodeStaged algorithm(Operation::all_gather, node_all_gather);
  return algorithm;
}

const Algorithm& broadcast_node_staged() {
  static const NodeStaged algorithm(Operation::broadcast, node_broadcast);
  return algorithm;
}

const Algorithm& all_to_all_node_staged() {
  static const NodeStaged algorithm(Operation::all_to_all, node_all_to_all);
  return algorithm;
}

}  // namespace shoal
