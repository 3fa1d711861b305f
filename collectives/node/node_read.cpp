// Every collective of a node on private buffers, which the kernel reads for the others: one algorithm, of which
// operations differ in nothing but what they read.
//
// Cost: 2 meetings, and each byte that comes to a rank copied once by the kernel, page by page; of an all-reduce
// also the others' results.
#include "algorithm.hpp"
#include "node/cost.hpp"
#include "node/node_collectives.hpp"

namespace shoal {
namespace {

using Run = bool (*)(const Call&, NodePath);

class NodeRead final : public NamedAlgorithm {
 public:
  NodeRead(Operation of, Run collective)
      : NamedAlgorithm({of, "node_read", "one node, any buffers: the kernel reads them for the others",
                        "Jin et al. 2005, LiMIC: support for high-performance MPI intra-node "
                        "communication on Linux cluster"}),
        collective_(collective) {}
  std::string why_not(const Call& call) const override { return why_no_reading(call); }
  // Those that reduce bring all inputs together at once.
  bool reproduces() const noexcept override {
    return operation() == Operation::all_reduce || operation() == Operation::reduce_scatter;
  }
  Seconds cost(Bytes bytes, int ranks, const Network&) const noexcept override {
    const double times = operation() == Operation::all_reduce ? 2 : 1;
    return node_cost::seconds(ranks, times * static_cast<double>(bytes), node_cost::read_beta);
  }
  void run(const Call& call) const override { collective_(call, NodePath::read); }

 private:
  const Run collective_;
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
