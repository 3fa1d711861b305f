// All-reduce in two levels that adds the inputs of all ranks at once, in the order of ranks, so that
// sums can be reproducible. No partial sums: of each element every node sends the inputs of all its
// ranks to the rank that adds, but only one copy of the result comes back to a node.
//
// Short messages: the ranks of a node hand their data to one of them, which exchanges all of it with
// those of the other nodes in one step, adds, and hands the result around. Long ones go in lanes
// (NodeGroups), of which each has a slice of the data, and of that a block for each node. A lane sends
// every other node its block of the inputs of this node's ranks, in chunks: so that the rank that adds
// has a chunk of all inputs while the next ones are on the wire. Then the sums go to all nodes, and
// each lane puts what comes into the outputs of its node's ranks. Nodes may have different numbers of
// ranks. Buffers in private memory pass through a stage in parts.
//
// Cost, with N nodes of up to k of the p ranks: short α + (N−2)·o + (p−k)·n·β + p·n·γ + 4·k flags; long
// α + (N−2)·o + 1.05·k·(N−1)/N·n·β + p/N·n/k·γ, + the lesser of (N−1)·(α + n/N·β), around a ring, and
// α + (N−2)·o + 1.05·(N−1)/N·n·β, all at once; + 4·k flags + 2·n/k of memory.
// Source: the parts are from Thakur, Rabenseifner & Gropp 2005, sections 3.1 and 3.4; the levels from
// Träff & Hunold 2020, Decomposing MPI collectives for exploiting multi-lane communication.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "algorithm.hpp"
#include "all_reduce/in_shared_memory.hpp"
#include "node/gathering_lane.hpp"
#include "node/groups.hpp"
#include "node/node_collectives.hpp"
#include "node/pieces.hpp"
#include "plan/pipeline.hpp"
#include "plan/shapes.hpp"
#include "reduce/reduce.hpp"
#include "tuning/parameters.hpp"

namespace shoal {
namespace {

double share_elsewhere(const Network& net) { return static_cast<double>(net.nodes - 1) / net.nodes; }

double ring_back_seconds(Bytes bytes, const Network& net) {
  return (net.nodes - 1) * net.alpha + share_elsewhere(net) * static_cast<double>(bytes) * net.beta;
}

double direct_back_seconds(Bytes bytes, const Network& net) {
  return net.alpha + (net.nodes - 2) * net.overhead +
         crowded_links * share_elsewhere(net) * static_cast<double>(bytes) * net.beta;
}

// All data of all ranks together: up to here everybody's lane gets it.
bool goes_whole(Bytes bytes, int ranks) {
  return bytes <= NodeControl::inline_bytes &&
         bytes * static_cast<Bytes>(ranks) <= parameter(Parameter::gathered_short_bytes);
}

// Every node has added its block of a lane's slice: hands them around, and puts what comes into the outputs of this
// node's ranks, of which `own` is this rank's.
void hand_back(const Call& call, const NodeGroups& groups, std::span<const Block> blocks,
               const std::vector<std::byte*>& outputs, int own) {
  const int nodes = groups.nodes();
  const int me = groups.node();
  const Bytes element = size_of(call.type);
  Plan plan;
  Bytes all = 0;
  for (const Block& each : blocks) {
    plan.counts.push_back(each.size);
    all += static_cast<Bytes>(each.size) * element;
  }
  const Network net = typical_network(*call.comm);
  if (direct_back_seconds(all, net) < ring_back_seconds(all, net)) {
    const int radices[] = {nodes};
    add_split_all_gather(plan, radices, me);
  } else {
    add_ring_all_gather(plan, nodes, me, 0, Direction::up);
  }
  const Block& mine = blocks[static_cast<std::size_t>(me)];
  std::byte* const out = outputs[static_cast<std::size_t>(own)];
  const std::vector<Rank> members = groups.lane(groups.place());
  Exchange exchange;
  exchange.comm = call.comm;
  exchange.members = members;
  exchange.operation = "all_reduce";
  exchange.type = call.type;
  exchange.in = exchange.out = out;
  exchange.deliver = [&](Index begin, Index count) {
    if (begin >= mine.begin && begin < mine.end()) return;  // all have it
    const Bytes at = static_cast<Bytes>(begin) * element;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (static_cast<int>(i) == own) continue;
      std::memcpy(outputs[i] + at, out + at, static_cast<Bytes>(count) * element);
    }
  };
  run_plan(plan, exchange);
}

class HierarchicalGathered final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  bool reproduces() const noexcept override { return true; }
  std::string why_not(const Call& call) const override { return why_no_hierarchy(*call.comm); }

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double step = net.alpha + (net.nodes - 2) * net.overhead;
    const double flags = 4 * net.per_node * net.node_alpha;
    if (goes_whole(bytes, ranks)) {
      return Seconds(step + (ranks - net.per_node) * n * net.beta + ranks * n * net.gamma + flags);
    }
    const double together = crowded_links * net.per_node * share_elsewhere(net) * n * net.beta +
                            ranks * n / net.nodes / net.per_node * net.gamma;
    return Seconds(step + together +
                   std::min(ring_back_seconds(bytes, net), direct_back_seconds(bytes, net)) + flags +
                   2 * n * net.node_beta / net.per_node);
  }

  void run(const Call& call) const override {
    NodeGroups& groups = call.comm->extension<NodeGroups>();
    if (goes_whole(call.bytes(), call.comm->size())) return run_whole(call, groups);
    const Bytes element = size_of(call.type);
    const auto most = static_cast<Index>(gathered_part_bytes(groups, call.comm->size()) / element);
    for (Index begin = 0; begin < call.count; begin += most) {
      Call part = call;
      part.count = std::min(most, call.count - begin);
      part.in = bytes_at(call.in, static_cast<Bytes>(begin) * element);
      part.out = bytes_at(call.out, static_cast<Bytes>(begin) * element);
      run_part(part, groups);
    }
  }

 private:
  static void run_whole(const Call& call, NodeGroups& groups) {
    const Bytes bytes = call.bytes();
    const bool alone = groups.local().size() == 1;
    alignas(64) std::array<std::byte, NodeControl::inline_bytes> result;
    if (alone) {
      const void* mine = call.in;
      exchange_whole(call, groups, {&mine, 1}, call.out);
      return;
    }
    NodeControl& control = node_control(groups.local());
    Announcement mine = announcement_of(call);
    mine.inlined = 1;
    control.announce(mine, call.in, bytes);
    if (groups.place() == 0) {
      std::vector<const void*> inputs;
      for (Rank rank = 0; rank < groups.local().size(); ++rank) {
        inputs.push_back(control.inline_of(rank, bytes));
      }
      exchange_whole(call, groups, inputs, result.data());
    }
    control.announce(mine, result.data(), groups.place() == 0 ? bytes : 0);
    copy_elements(call.out, control.inline_of(0, bytes), bytes);
  }

  static void exchange_whole(const Call& call, NodeGroups& groups,
                             std::span<const void* const> mine, void* out) {
    const Bytes bytes = call.bytes();
    const int nodes = groups.nodes();
    std::byte* const all = groups.work(bytes * static_cast<Bytes>(call.comm->size()));
    std::vector<const void*> inputs(static_cast<std::size_t>(call.comm->size()));
    Plan plan;
    std::byte* at = all;
    for (int node = 0; node < nodes; ++node) {
      const std::vector<Rank>& ranks = groups.ranks_of(node);
      for (std::size_t place = 0; place < ranks.size(); ++place, at += bytes) {
        if (node == groups.node()) copy_elements(at, mine[place], bytes);
        inputs[static_cast<std::size_t>(ranks[place])] = at;
      }
      plan.counts.push_back(call.count * static_cast<Index>(ranks.size()));
    }
    const int radices[] = {nodes};
    add_split_all_gather(plan, radices, groups.node());
    const std::vector<Rank> members = groups.lane(0);
    Exchange exchange;
    exchange.comm = call.comm;
    exchange.members = members;
    exchange.operation = "all_reduce";
    exchange.in = exchange.out = all;
    exchange.type = call.type;
    run_plan(plan, exchange);
    reduce_elements(inputs.data(), call.comm->size(), &out, 1, call.count, call.type, call.op,
                    call.comm->size(), false);
  }

  static void run_part(const Call& part, NodeGroups& groups) {
    if (groups.local().size() == 1) return run_lane(part, groups, nullptr);
    in_shared_memory(part, groups, [&](const Call& call, const NodeControl& control) {
      run_lane(call, groups, &control);
    });
  }

  // Buffers are as announced, in shared memory; or this rank is alone on its node.
  static void run_lane(const Call& call, NodeGroups& groups, const NodeControl* control) {
    const int lanes = groups.lanes(call.bytes());
    if (groups.place() >= lanes) return;
    const Block mine = segment_of(call.count, call.type, lanes, groups.place());
    const Bytes offset = static_cast<Bytes>(mine.begin) * size_of(call.type);
    std::vector<const std::byte*> inputs;
    std::vector<std::byte*> outputs;
    for (Rank rank = 0; rank < groups.local().size(); ++rank) {
      inputs.push_back(bytes_at(control == nullptr ? call.in : input_of(*control, rank), offset));
      outputs.push_back(bytes_at(control == nullptr ? call.out : output_of(*control, rank), offset));
    }
    std::vector<Block> blocks;
    std::vector<std::vector<GatheredPiece>> pieces;
    for (int node = 0; node < groups.nodes(); ++node) {
      const Block& block = blocks.emplace_back(segment_of(mine.size, call.type, groups.nodes(), node));
      GatheredPiece piece{block.begin, block.size, {}};
      if (node == groups.node()) {
        for (std::byte* const output : outputs) {
          piece.outputs.push_back(output + static_cast<Bytes>(block.begin) * size_of(call.type));
        }
      }
      pieces.push_back({std::move(piece)});
    }
    GatheringLane(call, groups, std::move(inputs), std::move(pieces)).run();
    hand_back(call, groups, blocks, outputs, groups.place());
  }
};

}  // namespace

const Algorithm& all_reduce_hierarchical_gathered() {
  static const HierarchicalGathered algorithm(
      {Operation::all_reduce, "hierarchical_gathered",
       "reproducible sums, several ranks a node: one copy of the result comes back to a node",
       "Träff & Hunold 2020; Thakur, Rabenseifner & Gropp 2005, sections 3.1 and 3.4"});
  return algorithm;
}

}  // namespace shoal
