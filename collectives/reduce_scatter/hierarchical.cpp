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
// and α + (N−2)·o + (N−1)/N·n·(1.05·β + γ), all at once; + 2·k flags + 2·n/k of memory, most of
// which hides behind the wire. Source: Träff & Hunold 2020, Decomposing MPI collectives for
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

namespace shoal {
namespace {

double ring_seconds(Bytes bytes, const Network& net) {
  const double n = static_cast<double>(bytes);
  const double share = static_cast<double>(net.nodes - 1) / net.nodes;
  return (net.nodes - 1) * net.alpha + share * n * (net.beta + net.gamma);
}

double direct_seconds(Bytes bytes, const Network& net) {
  const double n = static_cast<double>(bytes);
  const double share = static_cast<double>(net.nodes - 1) / net.nodes;
  return net.alpha + (net.nodes - 2) * net.overhead + share * n * (crowded_links * net.beta + net.gamma);
}

// What a rank gets of one part of the data; offsets in elements.
struct Share {
  Index in = 0;     // in every rank's input
  Index stage = 0;  // in every rank's stage
  Index out = 0;    // in its own output
  Index size = 0;
};

// A lane's slice of a rank's share.
struct Slice {
  Index at = 0;    // in the lane's memory
  Index from = 0;  // in the inputs
  Index size = 0;
  std::byte* owner = nullptr;  // where it is to end, if on this node
};

class Hierarchical final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_no_hierarchy(*call.comm); }

  Seconds cost(Bytes bytes, int, const Network& net) const noexcept override {
    const double inside = 2 * net.per_node * net.node_alpha;
    const double copies = 2 * static_cast<double>(bytes) * net.node_beta / net.per_node;
    return Seconds(std::min(ring_seconds(bytes, net), direct_seconds(bytes, net)) + inside +
                   copies);
  }

  void run(const Call& call) const override {
    NodeGroups& groups = call.comm->extension<NodeGroups>();
    const auto parts =
        static_cast<int>((call.bytes() + NodeGroups::part_bytes - 1) / NodeGroups::part_bytes);
    for (int part = 0; part < parts; ++part) run_part(call, shares_of(call, parts, part), groups);
  }

 private:
  static std::vector<Share> shares_of(const Call& call, int parts, int part) {
    std::vector<Share> shares;
    Index start = 0, stage = 0;
    for (const Index count : call.counts) {
      const Block block = block_of(count, parts, part);
      shares.push_back({start + block.begin, stage, block.begin, block.size});
      start += count;
      stage += block.size;
    }
    return shares;
  }

  static void run_part(const Call& call, const std::vector<Share>& shares, NodeGroups& groups) {
    const Bytes element = size_of(call.type);
    if (groups.local().size() == 1) return run_lane(call, shares, groups, nullptr, false);
    NodeControl& control = node_control(groups.local());
    control.announce(announcement_on(call), nullptr, 0);
    if (control.all_shared(true, true)) {
      run_lane(call, shares, groups, &control, false);
      return control.meet();
    }
    const Share& mine = shares[static_cast<std::size_t>(call.comm->rank())];
    Call staged = call;
    std::byte* stage = groups.stage(bytes_of(shares, element));
    staged.in = staged.out = stage;
    if (stage != nullptr) {
      for (const Share& share : shares) {
        copy_elements(stage + static_cast<Bytes>(share.stage) * element,
                      bytes_at(call.in, static_cast<Bytes>(share.in) * element),
                      static_cast<Bytes>(share.size) * element);
      }
    }
    announce_stage(control, staged);
    run_lane(staged, shares, groups, &control, true);
    control.meet();
    copy_elements(bytes_at(call.out, static_cast<Bytes>(mine.out) * element),
                  stage + static_cast<Bytes>(mine.stage) * element,
                  static_cast<Bytes>(mine.size) * element);
  }

  static Bytes bytes_of(const std::vector<Share>& shares, Bytes element) {
    return static_cast<Bytes>(shares.back().stage + shares.back().size) * element;
  }

  // Buffers are as announced, in shared memory; or this rank is alone on its node. Stages take
  // results where their owner's input was.
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
    std::vector<Slice> slices;
    Index at = 0;
    for (int node = 0; node < groups.nodes(); ++node) {
      const Index begin = at;
      for (const Rank rank : groups.ranks_of(node)) {
        const Share& share = shares[static_cast<std::size_t>(rank)];
        const Block block = segment_of(share.size, call.type, lanes, lane);
        Slice slice{at, (staged ? share.stage : share.in) + block.begin, block.size};
        if (node == groups.node()) {
          void* out = control == nullptr ? call.out : output_of(*control, groups.place_of(rank));
          const Index place = (staged ? share.stage : share.out) + block.begin;
          slice.owner = bytes_at(out, static_cast<Bytes>(place) * element);
        }
        slices.push_back(slice);
        at += block.size;
      }
      plan.counts.push_back(at - begin);
    }
    std::byte* const work = groups.work(static_cast<Bytes>(at) * element);
    // Calls `use` with every slice that overlaps a range, and what they share.
    const auto each = [&](Index begin, Index count, auto&& use) {
      for (const Slice& slice : slices) {
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
      each(begin, count, [&](const Slice& slice, Index first, Index size) {
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
      each(begin, count, [&](const Slice& slice, Index first, Index size) {
        if (slice.owner == nullptr) return;
        std::byte* from = work + static_cast<Bytes>(first) * element;
        finish_average(from, size, call.type, call.op, call.comm->size());
        copy_elements(slice.owner + static_cast<Bytes>(first - slice.at) * element, from,
                      static_cast<Bytes>(size) * element);
      });
    };
    const Network net = typical_network(*call.comm);
    if (direct_seconds(call.bytes(), net) < ring_seconds(call.bytes(), net)) {
      const int radices[] = {groups.nodes()};
      add_split_reduce_scatter(plan, radices, groups.node());
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
