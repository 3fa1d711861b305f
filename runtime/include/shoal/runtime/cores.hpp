// The hardware threads that the ranks of this node share.
#pragma once

namespace shoal {

/// Hardware threads that any rank of this node may run on, at least 1; the same on all of these ranks.
/// Set by the Runtime from the topology.
int node_threads() noexcept;

/// Which of them the caller runs on right now, from 0 to node_threads() − 1. A hint: the system may move
/// the caller at any moment.
int current_node_thread() noexcept;

/// Ranks of the run for each hardware thread that they have, on the machine of the run where they
/// have least (a control group's quota counts as so many threads); at least 1, and the same on all
/// ranks. Hosts that are containers of one machine count as that machine if they have the same
/// threads. Set by the Runtime.
double ranks_per_thread() noexcept;

}  // namespace shoal
