#include "node/gathering_lane.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "node/pieces.hpp"
#include "plan/pipeline.hpp"
#include "plan/segments.hpp"
#include "reduce/reduce.hpp"

namespace shoal {
namespace {

// Of one input: some of them fill a segment of the plan.
constexpr Bytes chunk_bytes = 16 << 10;

}  // namespace

GatheringLane::GatheringLane(const Call& call, NodeGroups& groups, std::vector<const std::byte*> inputs,
                             std::vector<std::vector<GatheredPiece>> pieces)
    : call_(call),
      groups_(groups),
      element_(size_of(call.type)),
      chunk_(static_cast<Index>(chunk_bytes / element_)),
      inputs_(std::move(inputs)),
      pieces_(std::move(pieces)) {
  for (const std::vector<GatheredPiece>& of_node : pieces_) {
    Index size = 0;
    for (const GatheredPiece& piece : of_node) size += piece.size;
    sizes_.push_back(size);
  }
}

// Blocks of the plan: for each node the inputs that go there, then those that come from there. Of each a chunk of the
// first input, of the second, ..., then the next chunk.
void GatheringLane::run() {
  const int nodes = groups_.nodes();
  const int me = groups_.node();
  const Index mine = sizes_[static_cast<std::size_t>(me)];
  Plan plan;
  plan.segment_bytes = most_segment_bytes();
  Index end = 0;
  for (const bool goes : {true, false}) {
    for (int node = 0; node < nodes; ++node) {
      const Index count = node == me ? 0
                          : goes     ? ranks_on(me) * sizes_[static_cast<std::size_t>(node)]
                                     : ranks_on(node) * mine;
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
  work_ = groups_.work(static_cast<Bytes>(end) * element_);
  const std::vector<Rank> members = groups_.lane(groups_.place());
  Exchange exchange;
  exchange.comm = call_.comm;
  exchange.members = members;
  exchange.operation = name_of(call_.operation).data();
  exchange.type = call_.type;
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

template <class Use>
void GatheringLane::each_part(int node, Index begin, Index count, Use&& use) const {
  Index start = 0;
  for (const GatheredPiece& piece : pieces_[static_cast<std::size_t>(node)]) {
    const Index first = std::max(begin, start);
    const Index size = std::min(begin + count, start + piece.size) - first;
    if (size > 0) use(piece, piece.begin + first - start, size, first - begin);
    start += piece.size;
  }
}

void GatheringLane::pack(Index begin, Index count) {
  while (count > 0) {
    const auto node = static_cast<std::size_t>(
        std::upper_bound(sent_at_.begin(), sent_at_.end(), begin) - sent_at_.begin() - 1);
    const Index inputs = ranks_on(groups_.node());
    const Index at = begin - sent_at_[node];
    const Index first = at / (inputs * chunk_) * chunk_;  // of the chunk, in the node's pieces
    const Index length = std::min(chunk_, sizes_[node] - first);
    const Index in_chunk = at - first * inputs;
    const Index input = in_chunk / length;
    const Index offset = in_chunk % length;
    const Index take = std::min(count, length - offset);
    each_part(static_cast<int>(node), first + offset, take,
              [&](const GatheredPiece&, Index from, Index size, Index to) {
                std::memcpy(work_ + static_cast<Bytes>(begin + to) * element_,
                            inputs_[static_cast<std::size_t>(input)] + static_cast<Bytes>(from) * element_,
                            static_cast<Bytes>(size) * element_);
              });
    begin += take;
    count -= take;
  }
}

// Adds the chunks of this node's pieces that all nodes have sent.
void GatheringLane::add_what_is_there() {
  const int me = groups_.node();
  const Index size = sizes_[static_cast<std::size_t>(me)];
  Index complete = size;
  for (int node = 0; node < groups_.nodes(); ++node) {
    if (node == me) continue;
    const Index came = arrived_[static_cast<std::size_t>(node)];
    if (came == ranks_on(node) * size) continue;
    complete = std::min(complete, came / (ranks_on(node) * chunk_) * chunk_);
  }
  while (added_ < complete) {
    const Index length = std::min(chunk_, size - added_);
    add_chunk(length);
    added_ += length;
  }
}

void GatheringLane::add_chunk(Index length) {
  const int me = groups_.node();
  const int ranks = call_.comm->size();
  std::vector<const void*> inputs(static_cast<std::size_t>(ranks));
  std::vector<void*> outputs;
  each_part(me, added_, length, [&](const GatheredPiece& piece, Index first, Index size, Index at) {
    for (int node = 0; node < groups_.nodes(); ++node) {
      Index place = 0;
      for (const Rank rank : groups_.ranks_of(node)) {
        const std::byte* const landed =
            work_ + static_cast<Bytes>(landed_at_[static_cast<std::size_t>(node)] + added_ * ranks_on(node) +
                                       place * length + at) *
                        element_;
        inputs[static_cast<std::size_t>(rank)] =
            node == me ? inputs_[static_cast<std::size_t>(place)] + static_cast<Bytes>(first) * element_ : landed;
        ++place;
      }
    }
    outputs.clear();
    for (std::byte* const output : piece.outputs) {
      outputs.push_back(output + static_cast<Bytes>(first - piece.begin) * element_);
    }
    reduce_elements(inputs.data(), ranks, outputs.data(), static_cast<int>(outputs.size()), size, call_.type,
                    call_.op, ranks, false);
  });
}

Bytes gathered_part_bytes(const NodeGroups& groups, int ranks) {
  const Bytes bytes = std::max<Bytes>(
      NodeGroups::part_bytes / static_cast<Bytes>(ranks) * static_cast<Bytes>(groups.nodes()), 64 << 10);
  return std::min(bytes, NodeGroups::part_bytes);
}

}  // namespace shoal
