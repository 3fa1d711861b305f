// Collectives among ranks that share a node, through memory that all of them see.
//
// Where the buffers lie in node-shared memory (Buffer with Memory::node_shared) ranks read and write
// each other's directly: no copy. Otherwise data passes through staging areas, two halves a rank in
// turn, each a fraction of the second-level cache; or the kernel reads the others' memory for a rank, where
// that is the quicker (node/quicker_way.hpp).
#pragma once

#include <string>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/placement.hpp>

#include "node/announce.hpp"
#include "node/control.hpp"

namespace shoal {

/// What a rank announced as its input or output, as an address here.
inline const void* input_of(const NodeControl& control, Rank rank) {
  return node_memory::address(control.of(rank).at.in);
}
inline void* output_of(const NodeControl& control, Rank rank) {
  return node_memory::address(control.of(rank).at.out);
}

/// Whether some rank's output is its input. Its lines have just been read into the caches when they are
/// written: to write past the caches then saves no reading, and throws them out (2 ranks, 16 MiB on
/// Sapphire Rapids: 1.7 ms, within the caches 0.8).
inline bool reduces_in_place(const NodeControl& control, int ranks) {
  for (Rank rank = 0; rank < ranks; ++rank) {
    const Announcement& theirs = control.of(rank);
    if (theirs.at.in.owner == theirs.at.out.owner && theirs.at.in.offset == theirs.at.out.offset) {
      return true;
    }
  }
  return false;
}

/// The state of a communicator's node collectives.
inline NodeControl& node_control(const Communicator& comm) {
  return comm.extension<NodeControl>();
}

/// Each returns false, on all ranks alike and with nothing done, if some rank declined.
bool node_all_reduce(const Call& call, NodePath path);
bool node_reduce_scatter(const Call& call, NodePath path);
bool node_all_gather(const Call& call, NodePath path);
bool node_broadcast(const Call& call, NodePath path);
bool node_all_to_all(const Call& call, NodePath path);
bool node_barrier(const Call& call, NodePath path);

}  // namespace shoal
