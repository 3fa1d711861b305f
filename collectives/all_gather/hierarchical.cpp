// All-gather in two levels: the ranks of a node give their blocks to one of them, the blocks of the
// nodes go between those, long ones around a ring, short ones by doubling or all at once, and each
// hands all of them on in its node. Also where every rank has a node to itself.
//
// Cost, with N nodes of up to k ranks: between the nodes the lesser of (N−1)·α + (N−1)/N·n·β and Σ
// over radices r, whose product is N, of α + (r−2)·o, + 1.05·(N−1)/N·n·β; + 4·k flags + 2·n·β
// inside. Source: Träff & Hunold 2020, Decomposing MPI collectives for exploiting multi-lane
// communication (with one lane); Thakur, Rabenseifner & Gropp 2005, section 3.1; Graham & Shipman
// 2008 inside.
#include <algorithm>
#include <numeric>

#include "algorithm.hpp"
#include "node/groups.hpp"
#include "node/node_collectives.hpp"
#include "plan/pipeline.hpp"
#include "plan/shapes.hpp"
#include "reduce/reduce.hpp"
#include "scratch.hpp"

namespace shoal {
namespace {

double share_of_others(const Network& net) {
  return static_cast<double>(net.nodes - 1) / net.nodes;
}

double ring_seconds(Bytes bytes, const Network& net) {
  return (net.nodes - 1) * net.alpha + share_of_others(net) * static_cast<double>(bytes) * net.beta;
}

double split_seconds(Bytes bytes, const Network& net) {
  double rounds = 0;
  quickest_radices(net.nodes, net.alpha, net.overhead, &rounds);
  return rounds + crowded_links * share_of_others(net) * static_cast<double>(bytes) * net.beta;
}

class Hierarchical final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  // Not why_no_hierarchy(): also for short messages of ranks that have a node each.
  std::string why_not(const Call& call) const override {
    if (call.comm->on_one_node()) return "the ranks are on one node";
    return call.comm->extension<NodeGroups>().why_not();
  }

  Seconds cost(Bytes bytes, int, const Network& net) const noexcept override {
    const double inside = net.per_node == 1 ? 0
                                            : 4 * net.per_node * net.node_alpha +
                                                  2 * static_cast<double>(bytes) * net.node_beta;
    return Seconds(std::min(ring_seconds(bytes, net), split_seconds(bytes, net)) + inside);
  }

  void run(const Call& call) const override {
    const NodeGroups& groups = call.comm->extension<NodeGroups>();
    gather_node(call, groups);
    if (groups.place() == 0) between_nodes(call, groups);
    if (groups.local().size() == 1) return;
    Call inside = call;
    inside.comm = &groups.local();
    inside.operation = Operation::broadcast;
    inside.counts = {};
    inside.in = call.out;
    inside.root = 0;
    node_broadcast(inside, NodePath::any);
  }

 private:
  // Puts the blocks of this node's ranks where they belong.
  static void gather_node(const Call& call, const NodeGroups& groups) {
    const Bytes element = size_of(call.type);
    const std::vector<Index> starts = starts_of(call.counts);
    const auto place = [&](Rank rank) {
      return static_cast<std::byte*>(call.out) +
             static_cast<Bytes>(starts[static_cast<std::size_t>(rank)]) * element;
    };
    const auto bytes = [&](Rank rank) {
      return static_cast<Bytes>(call.counts[static_cast<std::size_t>(rank)]) * element;
    };
    if (groups.local().size() == 1) {
      return copy_elements(place(call.comm->rank()), call.in, bytes(call.comm->rank()));
    }
    // The blocks of a node's ranks need not lie side by side: they meet in memory of their own.
    std::vector<Index> counts;
    for (const Rank rank : groups.ranks_of(groups.node())) {
      counts.push_back(call.counts[static_cast<std::size_t>(rank)]);
    }
    const Index total = std::accumulate(counts.begin(), counts.end(), Index{0});
    const Scratch blocks(*call.comm, static_cast<Bytes>(total) * element);
    Call inside = call;
    inside.comm = &groups.local();
    inside.out = blocks.data();
    inside.counts = counts;
    inside.count = total;
    node_all_gather(inside, NodePath::any);
    if (groups.place() != 0) return;
    const std::byte* from = blocks.data();
    for (const Rank rank : groups.ranks_of(groups.node())) {
      copy_elements(place(rank), from, bytes(rank));
      from += bytes(rank);
    }
  }

  // Blocks of nodes are those of their ranks, which need not lie side by side.
  static std::vector<Leg> by_rank(const std::vector<Leg>& legs, const NodeGroups& groups) {
    std::vector<Leg> all;
    for (const Leg& leg : legs) {
      for (int node = leg.first; node < leg.first + leg.blocks; ++node) {
        for (const Rank rank : groups.ranks_of(node)) all.push_back({leg.peer, rank, 1});
      }
    }
    return all;
  }

  static void between_nodes(const Call& call, const NodeGroups& groups) {
    const std::vector<Rank> members = groups.lane(0);
    const Network net = typical_network(*call.comm);
    Plan plan;
    if (split_seconds(call.bytes(), net) < ring_seconds(call.bytes(), net)) {
      add_split_all_gather(plan, quickest_radices(groups.nodes(), net.alpha, net.overhead),
                           groups.node());
    } else {
      add_ring_all_gather(plan, groups.nodes(), groups.node(), 0, Direction::up);
    }
    plan.counts.assign(call.counts.begin(), call.counts.end());
    for (Round& round : plan.rounds) {
      round.sends = by_rank(round.sends, groups);
      round.receives = by_rank(round.receives, groups);
    }
    Exchange exchange;
    exchange.comm = call.comm;
    exchange.members = members;
    exchange.operation = "all_gather";
    exchange.in = exchange.out = call.out;
    exchange.type = call.type;
    run_plan(plan, exchange);
  }
};

}  // namespace

const Algorithm& all_gather_hierarchical() {
  static const Hierarchical algorithm({Operation::all_gather, "hierarchical",
                                       "one rank of each node talks to the others",
                                       "Träff & Hunold 2020; Thakur, Rabenseifner & Gropp 2005, "
                                       "section 3.1; Graham & Shipman 2008"});
  return algorithm;
}

}  // namespace shoal
