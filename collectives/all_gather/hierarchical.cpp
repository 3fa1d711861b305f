// All-gather in two levels: the ranks of a node give their blocks to one of them, the blocks of the
// nodes go around a ring between those, and each hands all of them on in its node.
//
// Cost, with N nodes of up to k ranks: (N−1)·α + (N−1)/N·n·β between the nodes, + 4·k flags + 2·n·β inside.
// Source: Träff & Hunold 2020, Decomposing MPI collectives for exploiting multi-lane communication
// (with one lane); Graham & Shipman 2008 inside.
#include <numeric>

#include "algorithm.hpp"
#include "node/groups.hpp"
#include "node/node_collectives.hpp"
#include "plan/pipeline.hpp"
#include "reduce/reduce.hpp"
#include "scratch.hpp"

namespace shoal {
namespace {

class Hierarchical final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_no_hierarchy(*call.comm); }

  Seconds cost(Bytes bytes, int, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double share = static_cast<double>(net.nodes - 1) / net.nodes;
    return Seconds((net.nodes - 1) * net.alpha + share * n * net.beta +
                   4 * net.per_node * net.node_alpha + 2 * n * net.node_beta);
  }

  void run(const Call& call) const override {
    const NodeGroups& groups = call.comm->extension<NodeGroups>();
    gather_node(call, groups);
    if (groups.place() == 0) ring(call, groups);
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

  static void ring(const Call& call, const NodeGroups& groups) {
    const int nodes = groups.nodes();
    const std::vector<Rank> members = groups.lane(0);
    Plan plan;
    plan.counts.assign(call.counts.begin(), call.counts.end());
    plan.around = true;
    const auto blocks_of = [&](int node, int peer) {
      std::vector<Leg> legs;
      for (const Rank rank : groups.ranks_of((node + nodes) % nodes)) legs.push_back({peer, rank, 1});
      return legs;
    };
    for (int step = 0; step < nodes - 1; ++step) {
      Round& round = plan.rounds.emplace_back();
      round.sends = blocks_of(groups.node() - step, (groups.node() + 1) % nodes);
      round.receives = blocks_of(groups.node() - step - 1, (groups.node() + nodes - 1) % nodes);
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
                                       "several ranks a node: one of each talks to the others",
                                       "Träff & Hunold 2020; Graham & Shipman 2008"});
  return algorithm;
}

}  // namespace shoal
