// Reduce-scatter by sending every rank its block: the reduction sees all inputs at once, in the order
// of ranks. As much data as the ring, in one step; on large machines that many messages at once are
// more than a network likes, so the choice only for reproducible sums.
//
// Cost: (p−1)·α + (p−1)/p·n·(β + γ). Where k of the p ranks share a node's link it carries k·(1−k/p)·n.
// Source: Thakur, Rabenseifner & Gropp 2005, section 3.4 (pairwise exchange, here all at once).
#include "algorithm.hpp"

namespace shoal {
namespace {

class Direct final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  bool reproduces() const noexcept override { return true; }
  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double sharing = net.nodes == 1 ? 1 : net.per_node;
    const double combined = static_cast<double>(ranks - 1) / ranks;
    return Seconds((ranks - 1) * net.alpha +
                   n * (sharing * (1 - sharing / ranks) * net.beta + combined * net.gamma));
  }
  void run(const Call& call) const override {
    direct_reduce_scatter(call, starts_of(call.counts), call.counts, call.out);
  }
};

}  // namespace

const Algorithm& reduce_scatter_direct() {
  static const Direct algorithm({Operation::reduce_scatter, "direct",
                                 "reproducible sums: every input goes to the rank that adds",
                                 "Thakur, Rabenseifner & Gropp 2005, section 3.4"});
  return algorithm;
}

}  // namespace shoal
