// All-reduce among the ranks of a node with private buffers: data passes, in chunks that stay in the
// second-level cache, through a staging area of each rank.
//
// Cost: 2 flags·p a chunk; DRAM sees each byte of the user's buffers once in and once out.
#include "algorithm.hpp"
#include "node/cost.hpp"
#include "node/node_collectives.hpp"

namespace shoal {
namespace {

class NodeStaged final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_no_node_path(call); }
  bool reproduces() const noexcept override { return true; }
  Seconds cost(Bytes bytes, int ranks, const Network&) const noexcept override {
    return node_cost::seconds(ranks, 2 * static_cast<double>(bytes), node_cost::staged_beta);
  }
  void run(const Call& call) const override { node_all_reduce(call, NodePath::staged); }
};

}  // namespace

const Algorithm& all_reduce_node_staged() {
  static const NodeStaged algorithm({Operation::all_reduce, "node_staged",
                                     "one node, any buffers: through cache-sized shared chunks",
                                     "Graham & Shipman 2008, MPI support for multi-core "
                                     "architectures; Jain et al. 2018, XPMEM collectives"});
  return algorithm;
}

}  // namespace shoal
