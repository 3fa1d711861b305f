#pragma once

#include <shoal/runtime/units.hpp>

namespace shoal::torch_backend {

/// To be called with every buffer, before others may read it. One of several MiB that comes again,
/// such as a bucket of DistributedDataParallel, gets huge pages where the system lets programs ask
/// for them: the other rank's read of it (process_vm_readv) takes the pages one at a time. Never
/// fails: without them it is slower.
void huge_pages_if_it_recurs(void* data, Bytes bytes) noexcept;

}  // namespace shoal::torch_backend
