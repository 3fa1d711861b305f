// All-reduce in two levels: the ranks of a node combine in its shared memory, one rank of each node for
// each lane combines with those of the other nodes, and hands the result around in its node. So the
// data crosses a node's link once each way, however many ranks the node has. Between the nodes any
// algorithm may work that is given as a plan.
//
// Lane i takes the i-th part of the data, and does all work on it by itself: just before a segment goes
// to another node it combines the segments of its node's ranks, straight from their buffers; just after
// a segment has its final value it copies it into theirs. The ranks of a node meet only at the
// beginning and at the end, and all work inside hides behind the wire but for the first and the last
// segments. Nodes may have different numbers of ranks: there are as many lanes as the smallest has.
//
// Buffers in private memory pass through a stage in parts. Up to NodeControl::inline_bytes travel with
// the announcement, in one lane.
//
// Cost, with N nodes of up to k ranks: that of the algorithm between N nodes (the lanes share the link:
// n·β in all), + 2·k flags, + 2·n/k of memory, though most of that hides behind the wire.
// Source: Träff & Hunold 2020, Decomposing MPI collectives for exploiting multi-lane communication;
// Bayatpour et al. 2017, Scalable reduction collectives with data partitioning-based multi-leader
// design.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/placement.hpp>

#include "all_reduce/in_shared_memory.hpp"
#include "all_reduce/planned.hpp"
#include "node/groups.hpp"
#include "node/node_collectives.hpp"
#include "node/pieces.hpp"
#include "plan/pipeline.hpp"
#include "reduce/reduce.hpp"

namespace shoal {
namespace {

class Hierarchical final : public Algorithm {
 public:
  explicit Hierarchical(const PlannedAllReduce& between)
      : between_(between),
        name_("hierarchical_" + std::string(between.name())),
        description_("several ranks a node; between the nodes: " +
                     std::string(between.description())),
        source_("Träff & Hunold 2020; Bayatpour et al. 2017; " + std::string(between.source())) {}

  Operation operation() const noexcept override { return Operation::all_reduce; }
  std::string_view name() const noexcept override { return name_; }
  std::string_view description() const noexcept override { return description_; }
  std::string_view source() const noexcept override { return source_; }
  std::string why_not(const Call& call) const override { return why_no_hierarchy(*call.comm); }

  Seconds cost(Bytes bytes, int, const Network& net) const noexcept override {
    Network wire = net;
    wire.per_node = 1;
    const double inside = 2 * net.per_node * net.node_alpha;
    const double copies = 2 * static_cast<double>(bytes) * net.node_beta / net.per_node;
    return between_.cost(bytes, net.nodes, wire) + Seconds(inside + copies);
  }

  void run(const Call& call) const override {
    NodeGroups& groups = call.comm->extension<NodeGroups>();
    if (groups.local().size() > 1 && call.bytes() <= NodeControl::inline_bytes) {
      return run_inline(call, groups);
    }
    const Bytes element = size_of(call.type);
    const auto most = static_cast<Index>(NodeGroups::part_bytes / element);
    for (Index begin = 0; begin < call.count; begin += most) {
      Call part = call;
      part.count = std::min(most, call.count - begin);
      part.in = static_cast<const std::byte*>(call.in) + static_cast<Bytes>(begin) * element;
      part.out = static_cast<std::byte*>(call.out) + static_cast<Bytes>(begin) * element;
      if (groups.local().size() == 1) {
        Exchange exchange = exchange_of(part);
        exchange.in = part.in;
        exchange.out = part.out;
        between_nodes(exchange, part.count, groups, 0);
      } else {
        in_shared_memory(part, groups, [&](const Call& shared, const NodeControl& control) {
          run_lane(shared, groups, control);
        });
      }
    }
  }

 private:
  static Exchange exchange_of(const Call& call) {
    Exchange exchange;
    exchange.comm = call.comm;
    exchange.operation = "all_reduce";
    exchange.type = call.type;
    exchange.op = call.op;
    exchange.ranks = call.comm->size();
    return exchange;
  }

  void between_nodes(Exchange exchange, Index count, const NodeGroups& groups, int lane) const {
    const std::vector<Rank> members = groups.lane(lane);
    exchange.members = members;
    Network wire = typical_network(*exchange.comm);
    wire.per_node = 1;
    run_plan(between_.plan(count, exchange.type, groups.nodes(), groups.node(), wire), exchange);
  }

  void run_inline(const Call& call, NodeGroups& groups) const {
    NodeControl& control = node_control(groups.local());
    Announcement mine = announcement_of(call);
    mine.inlined = 1;
    control.announce(mine, call.in, call.bytes());
    alignas(64) std::array<std::byte, NodeControl::inline_bytes> result;
    if (groups.place() == 0) {
      std::vector<const void*> inputs;
      for (Rank rank = 0; rank < groups.local().size(); ++rank) {
        inputs.push_back(control.inline_of(rank, call.bytes()));
      }
      combine(call, inputs, 0, call.count, result.data());
      Exchange exchange = exchange_of(call);
      exchange.in = exchange.out = result.data();
      between_nodes(exchange, call.count, groups, 0);
    }
    control.announce(mine, result.data(), groups.place() == 0 ? call.bytes() : 0);
    copy_elements(call.out, control.inline_of(0, call.bytes()), call.bytes());
  }

  // Buffers are as announced, in shared memory.
  void run_lane(const Call& call, const NodeGroups& groups, const NodeControl& control) const {
    const int lanes = groups.lanes(call.bytes());
    const int lane = groups.place();
    if (lane >= lanes) return;
    const Block mine = segment_of(call.count, call.type, lanes, lane);
    const Bytes element = size_of(call.type);
    const Bytes offset = static_cast<Bytes>(mine.begin) * element;
    std::vector<const void*> inputs;
    std::vector<std::byte*> others;
    for (Rank rank = 0; rank < groups.local().size(); ++rank) {
      inputs.push_back(static_cast<const std::byte*>(input_of(control, rank)) + offset);
      if (rank == lane) continue;
      others.push_back(static_cast<std::byte*>(output_of(control, rank)) + offset);
    }
    std::byte* out = static_cast<std::byte*>(call.out) + offset;
    Exchange exchange = exchange_of(call);
    exchange.out = out;
    exchange.gather = [&](Index begin, Index count) {
      combine(call, inputs, begin, count, out + static_cast<Bytes>(begin) * element);
    };
    exchange.deliver = [&](Index begin, Index count) {
      const Bytes at = static_cast<Bytes>(begin) * element;
      for (std::byte* other : others) {
        std::memcpy(other + at, out + at, static_cast<Bytes>(count) * element);
      }
    };
    between_nodes(exchange, mine.size, groups, lane);
  }

  // Elements [begin, begin + count) of what the ranks of a node bring; an average is summed only.
  static void combine(const Call& call, const std::vector<const void*>& inputs, Index begin,
                      Index count, void* out) {
    std::vector<const void*> from;
    for (const void* input : inputs) {
      from.push_back(static_cast<const std::byte*>(input) +
                     static_cast<Bytes>(begin) * size_of(call.type));
    }
    reduce_elements(from.data(), static_cast<int>(from.size()), &out, 1, count, call.type,
                    call.op == ReduceOp::avg ? ReduceOp::sum : call.op, 1, false);
  }

  const PlannedAllReduce& between_;
  std::string name_, description_, source_;
};

}  // namespace

std::vector<const Algorithm*> hierarchical_all_reduces() {
  static const Hierarchical all[] = {Hierarchical(all_reduce_recursive_doubling()),
                                     Hierarchical(all_reduce_recursive_multiplying()),
                                     Hierarchical(all_reduce_hybrid()),
                                     Hierarchical(all_reduce_rabenseifner()),
                                     Hierarchical(all_reduce_direct()),
                                     Hierarchical(all_reduce_ring()),
                                     Hierarchical(all_reduce_bidirectional_ring())};
  std::vector<const Algorithm*> pointers;
  for (const Hierarchical& each : all) pointers.push_back(&each);
  return pointers;
}

}  // namespace shoal
