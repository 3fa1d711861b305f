// Broadcast in two levels: from the root to one rank of each other node, and from there to the others
// of the node through its memory. Short messages take a binomial tree between the nodes, long ones a
// chain in segments. The data crosses each node's link once, however many ranks the node has.
//
// Cost, with N nodes: the lesser of ⌈log2 N⌉·(α + n·β) and (N−1)·(α + s·β) + n·β, + 2 flags + n·β inside.
// Source: Karonis et al. 2000, Exploiting hierarchy in parallel computer networks to optimize
// collective operation performance; Worringen 2003 for the chain.
#include <algorithm>

#include "algorithm.hpp"
#include "node/groups.hpp"
#include "node/node_collectives.hpp"
#include "plan/pipeline.hpp"
#include "plan/segments.hpp"
#include "plan/shapes.hpp"

namespace shoal {
namespace {

double binomial_seconds(Bytes bytes, const Network& net) {
  return log2_ceil(net.nodes) * (net.alpha + static_cast<double>(bytes) * net.beta);
}

double chain_seconds(Bytes bytes, const Network& net) {
  const double n = static_cast<double>(bytes);
  const double segment = std::min(n, static_cast<double>(passed_segment_bytes()));
  return (net.nodes - 1) * (net.alpha + segment * net.beta) + n * net.beta;
}

class Hierarchical final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_no_hierarchy(*call.comm); }

  Seconds cost(Bytes bytes, int, const Network& net) const noexcept override {
    const double inside =
        2 * net.per_node * net.node_alpha + static_cast<double>(bytes) * net.node_beta;
    return Seconds(std::min(binomial_seconds(bytes, net), chain_seconds(bytes, net)) + inside);
  }

  void run(const Call& call) const override {
    const Communicator& comm = *call.comm;
    const NodeGroups& groups = comm.extension<NodeGroups>();
    const int root_node = comm.node_of(call.root);
    std::vector<Rank> members = groups.lane(0);
    members[static_cast<std::size_t>(root_node)] = call.root;
    const Rank mine = members[static_cast<std::size_t>(groups.node())];
    if (comm.rank() == mine) {
      const Network net = typical_network(comm);
      const bool chain = chain_seconds(call.bytes(), net) < binomial_seconds(call.bytes(), net);
      Plan plan;
      plan.counts = {call.count};
      (chain ? add_chain : add_binomial)(plan, groups.nodes(), groups.node(), root_node);
      Exchange exchange;
      exchange.comm = &comm;
      exchange.members = members;
      exchange.operation = "broadcast";
      exchange.in = exchange.out = call.out;
      exchange.type = call.type;
      run_plan(plan, exchange);
    }
    if (groups.local().size() == 1) return;
    Call inside = call;
    inside.comm = &groups.local();
    inside.root = groups.place_of(mine);
    node_broadcast(inside, NodePath::any);
  }
};

}  // namespace

const Algorithm& broadcast_hierarchical() {
  static const Hierarchical algorithm({Operation::broadcast, "hierarchical",
                                       "several ranks a node: to one of each, and on from there",
                                       "Karonis et al. 2000; Worringen 2003"});
  return algorithm;
}

}  // namespace shoal
