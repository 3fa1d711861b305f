// Collectives of the ranks of a node on private buffers, which the kernel reads for them
// (node/peer_memory.hpp). All have announced the call, and may read each other.
//
// Cost: each byte copied once, two meetings a call however long it is, and a page of another process some
// 0.2 µs of the kernel's. Where ranks wait beside computation on the same cores each meeting costs either side
// a change of threads, and far cores are slow to fetch from each other what one has just written to a stage.
#pragma once

#include <span>

#include <shoal/collectives/registry.hpp>

#include "node/control.hpp"

namespace shoal {

/// An all-reduce. Each rank reduces its segment from what it reads, a block at a time that stays in the
/// second-level cache, and then reads the others' results.
///
/// Cost, p ranks, n bytes: 2·n·(p−1)/p read by the kernel, n/p reduced from p inputs; 2 meetings.
/// DRAM sees inputs and outputs once, where these fit the caches of those who read them.
void reading_all_reduce(const Call& call, NodeControl& control);
/// A reduce-scatter: the first half of it.
void reading_reduce_scatter(const Call& call, NodeControl& control);
void reading_all_gather(const Call& call, NodeControl& control);
void reading_broadcast(const Call& call, NodeControl& control);

/// A block of an all-to-all.
struct Incoming {
  Bytes from = 0;  ///< where in the sender's input
  Bytes to = 0;    ///< where in this rank's output
  Bytes bytes = 0;
};
/// `blocks` by sender.
void reading_all_to_all(const Call& call, NodeControl& control, std::span<const Incoming> blocks);

}  // namespace shoal
