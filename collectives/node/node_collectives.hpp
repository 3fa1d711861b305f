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
};

/// Empty if the ranks of this call can meet in node-shared memory; else why not. Collective the
/// first time on a communicator.
std::string why_no_node_path(const Call& call);

/// One step of a node collective: announces the call's buffers, waits for all ranks, and decides,
/// alike on every rank, whether to go directly. `in_matters`, `out_matters`: whose sharing counts.
bool meet_and_choose(NodeControl& control, const Call& call, NodePath path, bool in_matters,
                     bool out_matters);

/// Rank r's part of `count` elements, cut at cache lines so that no two ranks write the same one.
Block segment_of(Index count, DType type, int ranks, Rank rank);

/// The announcement of a call.
Announcement announcement_of(const Call& call);

/// What a rank announced as its input or output, as an address here.
inline const void* input_of(const NodeControl& control, Rank rank) {
  return node_memory::address(control.of(rank).in);
}
inline void* output_of(const NodeControl& control, Rank rank) {
  return node_memory::address(control.of(rank).out);
}

/// The state of a communicator's node collectives.
inline NodeControl& node_control(const Communicator& comm) {
  return comm.extension<NodeControl>();
}

void node_all_reduce(const Call& call, NodePath path);
void node_reduce_scatter(const Call& call, NodePath path);
void node_all_gather(const Call& call, NodePath path);
void node_broadcast(const Call& call, NodePath path);
void node_all_to_all(const Call& call, NodePath path);
void node_barrier(const Call& call);

}  // namespace shoal
