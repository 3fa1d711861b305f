// Collectives among ranks that share a node, through memory that all of them see.
//
// Where the buffers lie in node-shared memory (Buffer with Memory::node_shared) ranks read and write
// each other's directly: no copy. Otherwise data passes through staging areas, two halves a rank in
// turn, each a fraction of the second-level cache.
#pragma once

#include <string>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/placement.hpp>

#include "node/control.hpp"

namespace shoal {

/// Which way data may go.
enum class NodePath {
  any,        ///< directly where all buffers are shared, else staged
  zero_copy,  ///< directly; Error if a buffer is private
  staged,     ///< through the staging areas, whatever the buffers
  declined,   ///< not at all: this rank cannot take part, and says so; the others may be at any
};

/// Empty if the ranks of this call can meet in node-shared memory; else why not. Collective the
/// first time on a communicator.
std::string why_no_node_path(const Call& call);

/// What a rank announces of a call: its part, but for where its data is, and with that.
Announcement announcement_of(const Call& call, NodePath path = NodePath::any);
Announcement announcement_on(const Call& call, NodePath path = NodePath::any);

/// Announces `staged`, a call whose buffers are this rank's NodeGroups::stage(), null if it has none. Throws
/// Error on all ranks of the node alike if one of them has none.
void announce_stage(NodeControl& control, const Call& staged);

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
