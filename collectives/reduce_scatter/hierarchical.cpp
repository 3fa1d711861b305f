// Reduce-scatter in two levels: between the nodes each lane reduces its slice of every rank's
// block, and the lane's member on the owner's node hands the result to the owner. The data crosses
// a node's link once, however many ranks the node has.
//
// A lane works on memory of its own, where the slices for the ranks of a node lie side by side:
// just before a segment goes to another node it is combined there from the buffers of its node's
// ranks, and just after it has its final value it is copied to its owner. Nodes may have different
// numbers of ranks, in any order; there are as many lanes as the smallest has. Buffers in private
// memory pass through a stage, in parts.
//
// Cost, with N nodes of up to k ranks: the lesser of (N−1)·α + (N−1)/N·n·(β + γ), around a ring,
// and Σ over radices r, whose product is N, of α + (r−2)·o, + (N−1)/N·n·(1.05·β + γ), by halving or
// all at once; + 2·k flags + 2·n/k of memory, most of which hides behind the wire. Also where every
// rank has a node to itself. Source: Träff & Hunold 2020, Decomposing MPI collectives for
// exploiting multi-lane communication; Bayatpour et al. 2017, Scalable reduction collectives with
// data partitioning-based multi-leader design.
#include <algorithm>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/placement.hpp>

#include "algorithm.hpp"
#include "node/groups.hpp"
#include "node/node_collectives.hpp"
#include "node/pieces.hpp"
#include "plan/pipeline.hpp"
#include "plan/shapes.hpp"
#include "reduce/reduce.hpp"
#include "reduce_scatter/in_shared_memory.hpp"

namespace shoal {
namespace {

double ring_seconds(Bytes bytes, const Network& net) {
  const double n = static_cast<double>(bytes);
  const double share = static_cast<double>(net.nodes - 1) / net.nodes;
  return (net.nodes - 1) * net.alpha + share * n * (net.beta + net.gamma);
}

double split_seconds(Bytes bytes, const Network& net) {
  const double n = static_cast<double>(bytes);
  const double share = static_cast<double>(net.nodes - 1) / net.nodes;
  double rounds = 0;
  quickest_radices(net.nodes, net.alpha, net.overhead, &rounds);
  return rounds + share * n * (crowded_links * net.beta + net.gamma);
}

// A slice (in_shared_memory.hpp) with its place in the lane's memory.
struct PlacedSlice : Slice {
  Index at = 0;
};

class Hierarchical final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  // Not why_no_hierarchy(): also for short messages of ranks that have a node each.
  std::string why_not(const Call& call) const override {
    if (call.comm->on_one_node()) return "the ranks are on one node";
    return call.comm->extension<NodeGroups>().why_not();
  }

  Seconds cost(Bytes bytes, int, const Network& net) const noexcept override {
    const double inside = 2 * net.per_node * net.node_alpha;
    const double copies = 2 * static_cast<double>(bytes) * net.node_beta / net.per_node;
    return Seconds(std::min(ring_seconds(bytes, net), split_seconds(bytes, net)) + inside + copies);
  }

  void run(const Call& call) const override {
    NodeGroups& groups = call.comm->extension<NodeGroups>();
    const auto parts =
        static_cast<int>((call.bytes() + NodeGroups::part_bytes - 1) / NodeGroups::part_bytes);
    for (int part = 0; part < parts; ++part) {
      const std::vector<Share> shares = shares_of(call, parts, part);
      in_shared_memory(call, shares, groups, [&](const Call& seen, const NodeControl* control, bool staged) {
        run_lane(seen, shares, groups, control, staged);
      });
    }
  }

 private:
  // Buffers are as announced, in shared memory; or this rank is alone on its node.
  static void run_lane(const Call& call, const std::vector<Share>& shares, NodeGroups& groups,
                       const NodeControl* control, bool staged) {
    const Bytes element = size_of(call.type);
    const int lanes = groups.lanes(bytes_of(shares, element));
    const int lane = groups.place();
    if (lane >= lanes) return;
    std::vector<const void*> inputs;
    for (Rank rank = 0; rank < groups.local().size(); ++rank) {
      inputs.push_back(control == nullptr ? call.in : input_of(*control, rank));
    }
    Plan plan;
    std::vector<PlacedSlice> slices;
    Index at = 0;
    for (int node = 0; node < groups.nodes(); ++node) {
      const Index begin = at;
      for (const Slice& slice : slices_of(call, shares, groups, control, staged, lanes, node)) {
        slices.push_back({slice, at});
        at += slice.size;
      }
      plan.counts.push_back(at - begin);
    }
    std::byte* const work = groups.work(static_cast<Bytes>(at) * element);
    // Calls `use` with every slice that overlaps a range, and what they share.
    const auto each = [&](Index begin, Index count, auto&& use) {
      for (const PlacedSlice& slice : slices) {
        const Index first = std::max(begin, slice.at);
        const Index size = std::min(begin + count, slice.at + slice.size) - first;
        if (size > 0) use(slice, first, size);
      }
    };
    const ReduceOp op = call.op == ReduceOp::avg ? ReduceOp::sum : call.op;
    Exchange exchange;
    const std::vector<Rank> members = groups.lane(lane);
    exchange.comm = call.comm;
    exchange.members = members;
    exchange.operation = "reduce_scatter";
    exchange.out = work;
    exchange.type = call.type;
    exchange.op = op;
    exchange.gather = [&](Index begin, Index count) {
      each(begin, count, [&](const PlacedSlice& slice, Index first, Index size) {
        std::vector<const void*> from;
        const Bytes offset = static_cast<Bytes>(slice.from + first - slice.at) * element;
        for (const void* input : inputs) from.push_back(bytes_at(input, offset));
        void* to = work + static_cast<Bytes>(first) * element;
        reduce_elements(from.data(), static_cast<int>(from.size()), &to, 1, size, call.type, op, 1,
                        false);
      });
    };
    // Of other nodes' blocks what comes by is not final.
    exchange.deliver = [&](Index begin, Index count) {
      each(begin, count, [&](const PlacedSlice& slice, Index first, Index size) {
        if (slice.owner == nullptr) return;
        std::byte* from = work + static_cast<Bytes>(first) * element;
        finish_average(from, size, call.type, call.op, call.comm->size());
        copy_elements(slice.owner + static_cast<Bytes>(first - slice.at) * element, from,
                      static_cast<Bytes>(size) * element);
      });
    };
    const Network net = typical_network(*call.comm);
    if (split_seconds(call.bytes(), net) < ring_seconds(call.bytes(), net)) {
      add_split_reduce_scatter(plan, quickest_radices(groups.nodes(), net.alpha, net.overhead),
                               groups.node());
    } else {
      add_ring_reduce_scatter(plan, groups.nodes(), groups.node(), 0, Direction::up);
    }
    run_plan(plan, exchange);
  }
};

}  // namespace

const Algorithm& reduce_scatter_hierarchical() {
  static const Hierarchical algorithm({Operation::reduce_scatter, "hierarchical",
                                       "several ranks a node: its link carries the data once",
                                       "Träff & Hunold 2020; Bayatpour et al. 2017"});
  return algorithm;
}

}  // namespace shoal
