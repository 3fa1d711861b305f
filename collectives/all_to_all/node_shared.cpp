// All-to-all in node-shared memory without a copy: every rank reads its blocks from the others.
//
// Cost: 2 flags·p + n·β of memory.
#include "algorithm.hpp"
#include "node/cost.hpp"
#include "node/node_collectives.hpp"

namespace shoal {
namespace {

class NodeShared final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_no_node_path(call); }
  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    return node_cost::shared_seconds(ranks, static_cast<double>(bytes), net);
  }
  void run(const Call& call) const override { node_all_to_all(call, NodePath::zero_copy); }
};

}  // namespace

const Algorithm& all_to_all_node_shared() {
  static const NodeShared algorithm({Operation::all_to_all, "node_shared",
                                     "one node, shared inputs: every rank reads its blocks",
                                     "Graham & Shipman 2008, MPI support for multi-core "
                                     "architectures; Jain et al. 2018, XPMEM collectives"});
  return algorithm;
}

}  // namespace shoal
