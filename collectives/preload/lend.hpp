// Buffers that the program passes again, where the node's other ranks see them: in libshoal_pmpi.so. In
// libshoal_pmpi_alloc.so these functions do nothing, since large allocations lie there from the start.
#pragma once

#include <shoal/collectives/registry.hpp>

namespace shoal::preload {

/// From here on allocations of at least 64 KiB have pages of their own, which can be lent. Nothing happens
/// where the program has an allocator of its own, or with SHOAL_PRELOAD_LEND=off.
void start_lending();
/// All pages are private again, with what is in them.
void stop_lending() noexcept;

/// To be called before a call whose ranks are on one node: buffers that have come before are lent, as far as
/// the call reads or writes those of other ranks, and as they are whole pages of one allocation.
void lend_what_recurs(const Call& call) noexcept;

}  // namespace shoal::preload
