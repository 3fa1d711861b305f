// Barrier through flags in node-shared memory.
//
// Cost: a flag written, p−1 seen.
#include "node/node_algorithm.hpp"

namespace shoal {
namespace {

class NodeShared final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_no_node_path(call); }
  Seconds cost(Bytes, int ranks, const Network& net) const noexcept override {
    return Seconds(ranks * node_cost::flag(net));
  }
  void run(const Call& call) const override { node_barrier(call, NodePath::zero_copy); }
};

}  // namespace

const Algorithm& barrier_node_shared() {
  static const NodeShared algorithm({Operation::barrier, "node_shared",
                                     "one node: a flag a rank",
                                     "Graham & Shipman 2008, MPI support for multi-core "
                                     "architectures; Jain et al. 2018, XPMEM collectives"});
  return algorithm;
}

}  // namespace shoal
