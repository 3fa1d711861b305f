// A part of a reduce-scatter where all ranks of the node see it.
#pragma once

#include <vector>

#include <shoal/runtime/placement.hpp>

#include "node/groups.hpp"
#include "node/node_collectives.hpp"
#include "node/pieces.hpp"
#include "reduce/reduce.hpp"

namespace shoal {

/// What a rank gets of one part of the data; offsets in elements.
struct Share {
  Index in = 0;     ///< in every rank's input
  Index stage = 0;  ///< in every rank's stage
  Index out = 0;    ///< in its own output
  Index size = 0;
};

/// By rank, for part `part` of `parts` even ones.
inline std::vector<Share> shares_of(const Call& call, int parts, int part) {
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

/// Of all shares together.
inline Bytes bytes_of(const std::vector<Share>& shares, Bytes element) {
  return static_cast<Bytes>(shares.back().stage + shares.back().size) * element;
}

/// Calls run(call, control, staged), with `call` itself, or, where a rank of this node has its data in private memory,
/// with copies of the part in stages, which take results where their owner's input was; `control` knows the others'
/// buffers, and is null if this rank is alone on its node. Returns once all ranks of the node are through, with the
/// result where `call` wants it. Throws Error on all of them alike if one has no memory for its stage.
template <class Run>
void in_shared_memory(const Call& call, const std::vector<Share>& shares, NodeGroups& groups, Run&& run) {
  const Bytes element = size_of(call.type);
  if (groups.local().size() == 1) return run(call, nullptr, false);
  NodeControl& control = node_control(groups.local());
  control.announce(announcement_on(call), nullptr, 0);
  if (control.all_shared(true, true)) {
    run(call, &control, false);
    return control.meet();
  }
  const Share& mine = shares[static_cast<std::size_t>(call.comm->rank())];
  Call staged = call;
  std::byte* const stage = groups.stage(bytes_of(shares, element));
  staged.in = staged.out = stage;
  if (stage != nullptr) {
    for (const Share& share : shares) {
      copy_elements(stage + static_cast<Bytes>(share.stage) * element,
                    bytes_at(call.in, static_cast<Bytes>(share.in) * element),
                    static_cast<Bytes>(share.size) * element);
    }
  }
  announce_stage(control, staged);
  run(staged, &control, true);
  control.meet();
  copy_elements(bytes_at(call.out, static_cast<Bytes>(mine.out) * element),
                stage + static_cast<Bytes>(mine.stage) * element, static_cast<Bytes>(mine.size) * element);
}

/// Where a lane finds its slice of a rank's share in the inputs, and where the sum of it goes.
struct Slice {
  Index from = 0;  ///< in every input of the node, or stage
  Index size = 0;
  std::byte* owner = nullptr;  ///< where it is to end, if on this node
};

/// A lane's slices of the shares of a node's ranks, one a rank; of `lanes`. `control` and `staged` as for run() above.
inline std::vector<Slice> slices_of(const Call& call, const std::vector<Share>& shares, const NodeGroups& groups,
                                    const NodeControl* control, bool staged, int lanes, int node) {
  std::vector<Slice> slices;
  for (const Rank rank : groups.ranks_of(node)) {
    const Share& share = shares[static_cast<std::size_t>(rank)];
    const Block block = segment_of(share.size, call.type, lanes, groups.place());
    Slice slice{(staged ? share.stage : share.in) + block.begin, block.size, nullptr};
    if (node == groups.node()) {
      void* const out = control == nullptr ? call.out : output_of(*control, groups.place_of(rank));
      const Index place = (staged ? share.stage : share.out) + block.begin;
      slice.owner = bytes_at(out, static_cast<Bytes>(place) * size_of(call.type));
    }
    slices.push_back(slice);
  }
  return slices;
}

}  // namespace shoal
