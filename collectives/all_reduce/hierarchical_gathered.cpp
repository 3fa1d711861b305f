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
#include <vector>

#include "algorithm.hpp"
#include "all_reduce/in_shared_memory.hpp"
#include "node/groups.hpp"
#include "node/node_collectives.hpp"
#include "node/pieces.hpp"
#include "plan/pipeline.hpp"
#include "plan/segments.hpp"
#include "plan/shapes.hpp"
#include "reduce/reduce.hpp"
#include "tuning/parameters.hpp"

namespace shoal {
namespace {

// Of one input: some of them fill a segment of the plan.
constexpr Bytes chunk_bytes = 16 << 10;

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

// One lane's slice of a part: blocks of it, one a node, to be added there.
class GatheringLane {
 public:
  // `inputs`, `outputs`: the slice in those of this node's ranks; outputs[own] is this rank's.
  GatheringLane(const Call& call, const NodeGroups& groups, Index count,
                std::vector<const std::byte*> inputs, std::vector<std::byte*> outputs, int own)
      : call_(call),
        groups_(groups),
        element_(size_of(call.type)),
        chunk_(static_cast<Index>(chunk_bytes / element_)),
        inputs_(std::move(inputs)),
        outputs_(std::move(outputs)),
        own_(own),
        members_(groups.lane(groups.place())) {
    for (int node = 0; node < groups.nodes(); ++node) {
      blocks_.push_back(segment_of(count, call.type, groups.nodes(), node));
    }
  }

  void run(NodeGroups& groups) {
    bring_together(groups);
    hand_back();
  }

 private:
  const Block& block(int node) const { return blocks_[static_cast<std::size_t>(node)]; }
  Index ranks_on(int node) const { return static_cast<Index>(groups_.ranks_of(node).size()); }

  Exchange exchange_of() const {
    Exchange exchange;
    exchange.comm = call_.comm;
    exchange.members = members_;
    exchange.operation = "all_reduce";
    exchange.type = call_.type;
    return exchange;
  }

  // Blocks of the plan: for each node the inputs that go there, then those that come from there. Of
  // each a chunk of the first input, of the second, ..., then the next chunk.
  void bring_together(NodeGroups& groups) {
    const int nodes = groups_.nodes();
    const int me = groups_.node();
    Plan plan;
    plan.segment_bytes = most_segment_bytes();
    Index end = 0;
    for (const bool goes : {true, false}) {
      for (int node = 0; node < nodes; ++node) {
        const Index count = node == me ? 0
                            : goes     ? ranks_on(me) * block(node).size
                                       : ranks_on(node) * block(me).size;
        (goes ? sent_at_ : landed_at_).push_back(end);
        plan.counts.push_back(count);
        end += count;
      }
    }
    Round& round = plan.rounds.emplace_back();
    for (int step = 1; step < nodes; ++step) {
      const int to = (me + step) % nodes;
      const int from = (me + nodes - step) % nodes;
      round.sends.push_back({to, to, 1});
      round.receives.push_back({from, nodes + from, 1});
    }
    arrived_.assign(static_cast<std::size_t>(nodes), 0);
    work_ = groups.work(static_cast<Bytes>(end) * element_);
    Exchange exchange = exchange_of();
    exchange.out = work_;
    exchange.gather = [&](Index begin, Index count) { pack(begin, count); };
    exchange.deliver = [&](Index begin, Index count) {
      if (begin < landed_at_.front()) return;
      const auto node = static_cast<std::size_t>(
          std::upper_bound(landed_at_.begin(), landed_at_.end(), begin) - landed_at_.begin() - 1);
      arrived_[node] = begin + count - landed_at_[node];  // in order: it is one connection
      add_what_is_there();
    };
    run_plan(plan, exchange);
    add_what_is_there();  // where nothing comes
  }

  void pack(Index begin, Index count) {
    while (count > 0) {
      const auto node = static_cast<std::size_t>(
          std::upper_bound(sent_at_.begin(), sent_at_.end(), begin) - sent_at_.begin() - 1);
      const Index inputs = ranks_on(groups_.node());
      const Index at = begin - sent_at_[node];
      const Index first = at / (inputs * chunk_) * chunk_;  // of the chunk, in the block
      const Index length = std::min(chunk_, blocks_[node].size - first);
      const Index in_chunk = at - first * inputs;
      const Index input = in_chunk / length;
      const Index offset = in_chunk % length;
      const Index take = std::min(count, length - offset);
      const std::byte* from = inputs_[static_cast<std::size_t>(input)] +
                              static_cast<Bytes>(blocks_[node].begin + first + offset) * element_;
      std::memcpy(work_ + static_cast<Bytes>(begin) * element_, from,
                  static_cast<Bytes>(take) * element_);
      begin += take;
      count -= take;
    }
  }

  // Adds the chunks of this node's block that all nodes have sent.
  void add_what_is_there() {
    const int me = groups_.node();
    const Index size = block(me).size;
    Index complete = size;
    for (int node = 0; node < groups_.nodes(); ++node) {
      if (node == me) continue;
      const Index came = arrived_[static_cast<std::size_t>(node)];
      if (came == ranks_on(node) * size) continue;
      complete = std::min(complete, came / (ranks_on(node) * chunk_) * chunk_);
    }
    std::vector<const void*> inputs(static_cast<std::size_t>(call_.comm->size()));
    std::vector<void*> outputs(outputs_.size());
    for (; added_ < complete; added_ += std::min(chunk_, size - added_)) {
      const Index length = std::min(chunk_, size - added_);
      for (int node = 0; node < groups_.nodes(); ++node) {
        std::size_t place = 0;
        for (const Rank rank : groups_.ranks_of(node)) {
          inputs[static_cast<std::size_t>(rank)] =
              node == me ? inputs_[place] + static_cast<Bytes>(block(me).begin + added_) * element_
                         : work_ + static_cast<Bytes>(landed_at_[static_cast<std::size_t>(node)] +
                                                      added_ * ranks_on(node) +
                                                      static_cast<Index>(place) * length) *
                                       element_;
          ++place;
        }
      }
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        outputs[i] = outputs_[i] + static_cast<Bytes>(block(me).begin + added_) * element_;
      }
      reduce_elements(inputs.data(), call_.comm->size(), outputs.data(),
                      static_cast<int>(outputs.size()), length, call_.type, call_.op,
                      call_.comm->size(), false);
    }
  }

  void hand_back() {
    const int nodes = groups_.nodes();
    const int me = groups_.node();
    Plan plan;
    Bytes all = 0;
    for (const Block& each : blocks_) {
      plan.counts.push_back(each.size);
      all += static_cast<Bytes>(each.size) * element_;
    }
    const Network net = typical_network(*call_.comm);
    if (direct_back_seconds(all, net) < ring_back_seconds(all, net)) {
      const int radices[] = {nodes};
      add_split_all_gather(plan, radices, me);
    } else {
      add_ring_all_gather(plan, nodes, me, 0, Direction::up);
    }
    std::byte* const out = outputs_[static_cast<std::size_t>(own_)];
    Exchange exchange = exchange_of();
    exchange.in = exchange.out = out;
    exchange.deliver = [&](Index begin, Index count) {
      if (begin >= block(me).begin && begin < block(me).end()) return;  // all have it
      const Bytes at = static_cast<Bytes>(begin) * element_;
      for (std::size_t i = 0; i < outputs_.size(); ++i) {
        if (static_cast<int>(i) == own_) continue;
        std::memcpy(outputs_[i] + at, out + at, static_cast<Bytes>(count) * element_);
      }
    };
    run_plan(plan, exchange);
  }

  const Call& call_;
  const NodeGroups& groups_;
  const Bytes element_;
  const Index chunk_;
  const std::vector<const std::byte*> inputs_;
  const std::vector<std::byte*> outputs_;
  const int own_;
  const std::vector<Rank> members_;
  std::vector<Block> blocks_;              // by node, of the slice
  std::vector<Index> sent_at_, landed_at_;  // by node, in the lane's memory
  std::vector<Index> arrived_;             // by node
  Index added_ = 0;                        // of this node's block
  std::byte* work_ = nullptr;
};

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
    const Index most = most_of_part(call, groups);
    for (Index begin = 0; begin < call.count; begin += most) {
      Call part = call;
      part.count = std::min(most, call.count - begin);
      part.in = bytes_at(call.in, static_cast<Bytes>(begin) * element);
      part.out = bytes_at(call.out, static_cast<Bytes>(begin) * element);
      run_part(part, groups);
    }
  }

 private:
  // So that a part, and what all lanes of a node have in hand of it, stay within a part's bytes.
  static Index most_of_part(const Call& call, const NodeGroups& groups) {
    const Bytes ranks = static_cast<Bytes>(call.comm->size());
    const Bytes nodes = static_cast<Bytes>(groups.nodes());
    const Bytes bytes = std::max<Bytes>(NodeGroups::part_bytes / ranks * nodes, 64 << 10);
    return static_cast<Index>(std::min(bytes, NodeGroups::part_bytes) / size_of(call.type));
  }

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
    GatheringLane(call, groups, mine.size, std::move(inputs), std::move(outputs), groups.place())
        .run(groups);
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
