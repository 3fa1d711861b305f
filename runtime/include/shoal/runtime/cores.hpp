// The hardware threads that the ranks of this node share.
#pragma once

namespace shoal {

/// Hardware threads that any rank of this node may run on, at least 1; the same on all of these ranks.
/// Set by the Runtime from the topology.
int node_threads() noexcept;

/// Which of them the caller runs on right now, from 0 to node_threads() − 1. A hint: the system may move
/// the caller at any moment.
int current_node_thread() noexcept;

}  // namespace shoal
