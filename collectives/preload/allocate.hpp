// Large allocations of the program in memory that the node's other ranks see, so that collectives
// on them need no copy: in libshoal_pmpi_alloc.so. In libshoal_pmpi.so these functions do nothing,
// and the program's allocator is its own.
#pragma once

namespace shoal::preload {

/// From here on allocations of at least SHOAL_PRELOAD_ALLOC bytes (64 KiB) come from this rank's
/// heap.
void start_allocating();
/// From here on none do. Those that are left stay valid.
void stop_allocating() noexcept;

}  // namespace shoal::preload
