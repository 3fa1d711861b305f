#include "node/reading.hpp"

#include <algorithm>
#include <vector>

#include "algorithm.hpp"
#include "node/peer_memory.hpp"
#include "node/pieces.hpp"
#include "reduce/reduce.hpp"
#include "scratch.hpp"

namespace shoal {
namespace {

// Reduces `count` elements from `first` on of all inputs into `out`.
void reduce_read(const Call& call, NodeControl& control, Index first, Index count, void* out) {
  const PeerMemory& peers = call.comm->extension<PeerMemory>();
  const int ranks = call.comm->size();
  const Rank me = call.comm->rank();
  const Bytes element = size_of(call.type);
  // The blocks of all ranks lie in the second-level cache together.
  constexpr Bytes all_blocks = 256 << 10;
  constexpr Bytes least_block = 16 << 10;
  constexpr Bytes most_block = 64 << 10;
  const Bytes block = std::clamp(all_blocks / static_cast<Bytes>(ranks) / 64 * 64, least_block, most_block);
  const Scratch scratch(*call.comm, block * static_cast<Bytes>(ranks));
  const auto per_block = static_cast<Index>(block / element);
  std::vector<const void*>& inputs = control.pointers();

  for (Index at = 0; at < count; at += per_block) {
    const Index here = std::min(per_block, count - at);
    const Bytes offset = static_cast<Bytes>(first + at) * element;
    for (int step = 0; step < ranks; ++step) {
      const Rank rank = (me + step) % ranks;  // not all from the same one at once
      const void*& input = inputs[static_cast<std::size_t>(rank)];
      const node_memory::Location& place = control.of(rank).at.in;
      if (rank == me) {
        input = bytes_at(call.in, offset);
      } else if (place.owner >= 0) {
        input = bytes_at(node_memory::address(place), offset);
      } else {
        std::byte* const copy = scratch.data() + block * static_cast<Bytes>(rank);
        peers.read(control, rank, place, offset, copy, static_cast<Bytes>(here) * element);
        input = copy;
      }
    }
    void* const results = bytes_at(out, static_cast<Bytes>(at) * element);
    reduce_elements(inputs.data(), ranks, &results, 1, here, call.type, call.op, ranks, false);
  }
}

}  // namespace

void reading_all_reduce(const Call& call, NodeControl& control) {
  const PeerMemory& peers = call.comm->extension<PeerMemory>();
  const int ranks = call.comm->size();
  const Rank me = call.comm->rank();
  const Bytes element = size_of(call.type);
  const auto place_of = [&](const Block& segment) { return static_cast<Bytes>(segment.begin) * element; };
  const Block mine = segment_of(call.count, call.type, ranks, me);
  reduce_read(call, control, mine.begin, mine.size, bytes_at(call.out, place_of(mine)));
  control.meet();
  for (int step = 1; step < ranks; ++step) {
    const Rank rank = (me + step) % ranks;
    const Block theirs = segment_of(call.count, call.type, ranks, rank);
    peers.read(control, rank, control.of(rank).at.out, place_of(theirs), bytes_at(call.out, place_of(theirs)),
               static_cast<Bytes>(theirs.size) * element);
  }
  control.meet();
}

void reading_reduce_scatter(const Call& call, NodeControl& control) {
  const auto me = static_cast<std::size_t>(call.comm->rank());
  reduce_read(call, control, starts_of(call.counts)[me], call.counts[me], call.out);
  control.meet();
}

void reading_all_gather(const Call& call, NodeControl& control) {
  const PeerMemory& peers = call.comm->extension<PeerMemory>();
  const int ranks = call.comm->size();
  const Rank me = call.comm->rank();
  const Bytes element = size_of(call.type);
  const std::vector<Index> starts = starts_of(call.counts);
  for (int step = 0; step < ranks; ++step) {
    const Rank rank = (me + step) % ranks;
    const auto index = static_cast<std::size_t>(rank);
    const Bytes bytes = static_cast<Bytes>(call.counts[index]) * element;
    void* const to = bytes_at(call.out, static_cast<Bytes>(starts[index]) * element);
    if (rank == me) {
      copy_elements(to, call.in, bytes);
    } else {
      peers.read(control, rank, control.of(rank).at.in, 0, to, bytes);
    }
  }
  control.meet();
}

void reading_broadcast(const Call& call, NodeControl& control) {
  if (call.comm->rank() != call.root) {
    const PeerMemory& peers = call.comm->extension<PeerMemory>();
    peers.read(control, call.root, control.of(call.root).at.in, 0, call.out, call.bytes());
  }
  control.meet();
}

void reading_all_to_all(const Call& call, NodeControl& control, std::span<const Incoming> blocks) {
  const PeerMemory& peers = call.comm->extension<PeerMemory>();
  const int ranks = call.comm->size();
  const Rank me = call.comm->rank();
  for (int step = 0; step < ranks; ++step) {
    const Rank rank = (me + step) % ranks;
    const Incoming& block = blocks[static_cast<std::size_t>(rank)];
    void* const to = bytes_at(call.out, block.to);
    if (rank == me) {
      copy_elements(to, bytes_at(call.in, block.from), block.bytes);
    } else {
      peers.read(control, rank, control.of(rank).at.in, block.from, to, block.bytes);
    }
  }
  control.meet();
}

}  // namespace shoal
