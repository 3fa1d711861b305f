// Every collective of a node on private buffers, which the kernel reads for the others.
//
// Cost: 2 meetings, and each byte that comes to a rank copied once by the kernel, page by page; of
// an all-reduce also the others' results.
#include "node/node_algorithm.hpp"

namespace shoal {
namespace {

class NodeRead final : public NodeAlgorithm {
 public:
  NodeRead(Operation of, Collective collective)
      : NodeAlgorithm(
            {of, "node_read", "one node, any buffers: the kernel reads them for the others",
             "Jin et al. 2005, LiMIC: support for high-performance MPI intra-node "
             "communication on Linux cluster"},
            collective, NodePath::read) {}
  std::string why_not(const Call& call) const override { return why_no_reading(call); }
  Seconds cost(Bytes bytes, int ranks, const Network&) const noexcept override {
    return node_cost::seconds(ranks, moved(bytes), node_cost::read_beta);
  }
};

}  // namespace

const Algorithm& all_reduce_node_read() {
  static const NodeRead algorithm(Operation::all_reduce, node_all_reduce);
  return algorithm;
}

const Algorithm& reduce_scatter_node_read() {
  static const NodeRead algorithm(Operation::reduce_scatter, node_reduce_scatter);
  return algorithm;
}

const Algorithm& all_gather_node_read() {
  static const NodeRead algorithm(Operation::all_gather, node_all_gather);
  return algorithm;
}

const Algorithm& broadcast_node_read() {
  static const NodeRead algorithm(Operation::broadcast, node_broadcast);
  return algorithm;
}

const Algorithm& all_to_all_node_read() {
  static const NodeRead algorithm(Operation::all_to_all, node_all_to_all);
  return algorithm;
}

}  // namespace shoal
