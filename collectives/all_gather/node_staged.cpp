// All-gather among the ranks of a node with private buffers, through staging areas.
//
// Cost: a flag a chunk, n·β of memory twice.
#include "algorithm.hpp"
#include "node/cost.hpp"
#include "node/node_collectives.hpp"

namespace shoal {
namespace {

class NodeStaged final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_no_node_path(call); }
  Seconds cost(Bytes bytes, int ranks, const Network&) const noexcept override {
    return node_cost::seconds(ranks, static_cast<double>(bytes), node_cost::staged_beta);
  }
  void run(const Call& call) const override { node_all_gather(call, NodePath::staged); }
};

}  // namespace

const Algorithm& all_gather_node_staged() {
  static const NodeStaged algorithm({Operation::all_gather, "node_staged",
                                     "one node, any buffers: through cache-sized shared chunks",
                                     "Graham & Shipman 2008, MPI support for multi-core "
                                     "architectures; Jain et al. 2018, XPMEM collectives"});
  return algorithm;
}

}  // namespace shoal
