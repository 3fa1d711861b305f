// Reduce-scatter among the ranks of a node with private buffers, which the kernel reads for the others.
//
// Cost: 2 meetings; n·(p−1)/p bytes a rank copied once, by the kernel, page by page.
#include "algorithm.hpp"
#include "node/cost.hpp"
#include "node/node_collectives.hpp"

namespace shoal {
namespace {

class NodeRead final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_no_reading(call); }
  bool reproduces() const noexcept override { return true; }
  Seconds cost(Bytes bytes, int ranks, const Network&) const noexcept override {
    return node_cost::seconds(ranks, static_cast<double>(bytes), node_cost::read_beta);
  }
  void run(const Call& call) const override { node_reduce_scatter(call, NodePath::read); }
};

}  // namespace

const Algorithm& reduce_scatter_node_read() {
  static const NodeRead algorithm({Operation::reduce_scatter, "node_read",
                                   "one node, any buffers: the kernel reads them for the others",
                                   "Jin et al. 2005, LiMIC: support for high-performance MPI "
                                   "intra-node communication on Linux cluster"});
  return algorithm;
}

}  // namespace shoal
