// Buffers that come again, such as the buckets of DistributedDataParallel.
#pragma once

#include <shoal/runtime/units.hpp>

namespace shoal::torch_backend {

/// Smaller buffers are left as they are.
inline constexpr Bytes least_recurring = 1 << 20;

/// To be called with the buffer of a collective, before others may read it. One that comes again is lent to
/// the ranks of the node, if it is all of a tensor's memory: so they sum it where it lies. Others
/// get huge pages where the system lets programs ask for them, since another rank's read of them
/// (process_vm_readv) takes the pages one at a time. Never fails: without either it is slower.
void help_if_it_recurs(void* data, Bytes bytes) noexcept;

}  // namespace shoal::torch_backend
