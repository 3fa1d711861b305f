// Every collective of a node on buffers that its ranks all see, without a copy: a rank reduces its
// part of all inputs straight into all outputs, or reads what it is to have where it lies.
//
// Cost: 2 flags·p, and the bytes that a rank reads: n·β of memory, of an all-reduce 2·n·β (p·n read
// and p·n written by p ranks).
#include "node/node_algorithm.hpp"

namespace shoal {
namespace {

class NodeShared final : public NodeAlgorithm {
 public:
  NodeShared(Operation of, std::string_view description, Collective collective)
      : NodeAlgorithm(
            {of, "node_shared", description,
             "Graham & Shipman 2008, MPI support for multi-core architectures; Jain et al. 2018, "
             "XPMEM collectives"},
            collective, NodePath::zero_copy) {}
  std::string why_not(const Call& call) const override { return why_no_node_path(call); }
  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    return node_cost::shared_seconds(ranks, moved(bytes), net);
  }
};

}  // namespace

const Algorithm& all_reduce_node_shared() {
  static const NodeShared algorithm(
      Operation::all_reduce, "one node, shared buffers: every rank reduces its part in place",
      node_all_reduce);
  return algorithm;
}

const Algorithm& reduce_scatter_node_shared() {
  static const NodeShared algorithm(Operation::reduce_scatter,
                                    "one node, shared inputs: every rank reads its block of all",
                                    node_reduce_scatter);
  return algorithm;
}

const Algorithm& all_gather_node_shared() {
  static const NodeShared algorithm(Operation::all_gather,
                                    "one node, shared inputs: every rank reads the others'",
                                    node_all_gather);
  return algorithm;
}

const Algorithm& broadcast_node_shared() {
  static const NodeShared algorithm(
      Operation::broadcast, "one node, shared root buffer: every rank reads it", node_broadcast);
  return algorithm;
}

const Algorithm& all_to_all_node_shared() {
  static const NodeShared algorithm(Operation::all_to_all,
                                    "one node, shared inputs: every rank reads its blocks",
                                    node_all_to_all);
  return algorithm;
}

}  // namespace shoal
