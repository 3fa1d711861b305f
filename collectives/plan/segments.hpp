// How a plan's blocks are cut into the messages that carry them.
#pragma once

#include <span>
#include <vector>

#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/placement.hpp>

#include "plan/plan.hpp"

namespace shoal {

/// Largest message that a plan sends; and that one sends that asks for nothing else, and is not around.
Bytes most_segment_bytes() noexcept;
Bytes passed_segment_bytes() noexcept;

/// The length of the segments of `plan` with elements of `element` bytes; `by_connections`: all its messages
/// take connections of Shoal's own, not MPI. A function of what all members know alike.
Bytes wanted_segment_bytes(const Plan& plan, Bytes element, bool by_connections);

struct Segments {
  std::vector<Block> all;  ///< ranges of elements, block after block; none is empty
  std::vector<int> first;  ///< of each block: its first segment; and one past the last of all
};

/// Cuts blocks of `counts` elements, one after the other, into even segments of at most `wanted` bytes,
/// rounded up to a whole number of cache lines from the block's start. An empty block has no segment.
Segments cut_into_segments(std::span<const Index> counts, DType type, Bytes wanted);

}  // namespace shoal
