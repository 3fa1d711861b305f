// All-reduce in node-shared memory without a copy: rank r reduces the r-th part of all inputs
// straight into all outputs.
//
// Cost: 2 flags·p + 2·n·β of memory (p·n read and p·n written by p ranks).
#include "algorithm.hpp"
#include "node/cost.hpp"
#include "node/node_collectives.hpp"

namespace shoal {
namespace {

class NodeShared final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_no_node_path(call); }
  bool reproduces() const noexcept override { return true; }
  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    return node_cost::shared_seconds(ranks, 2 * static_cast<double>(bytes), net);
  }
  void run(const Call& call) const override { node_all_reduce(call, NodePath::zero_copy); }
};

}  // namespace

const Algorithm& all_reduce_node_shared() {
  static const NodeShared algorithm({Operation::all_reduce, "node_shared",
                                     "one node, shared buffers: every rank reduces its part in place",
                                     "Graham & Shipman 2008, MPI support for multi-core "
                                     "architectures; Jain et al. 2018, XPMEM collectives"});
  return algorithm;
}

}  // namespace shoal
