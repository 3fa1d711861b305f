// Large tensors where all ranks of the node see them, so that collectives need not copy them.
#pragma once

#include <shoal/runtime/units.hpp>

namespace shoal::torch_backend {

/// From here on tensors of at least so many bytes come from this rank's node-shared heap, while it has
/// room. Needs the Session. Where ranks cannot share memory nothing changes. A child made by fork() has
/// such tensors in common with its parent, as after torch's share_memory_().
void share_tensors(Bytes at_least);

/// From the first call on the C library's heap keeps up to 256 MiB of what was freed at its end, instead of
/// 64 MiB at most: the gradients of a training step, which go with it, find the same pages in the next. Fresh
/// pages cost more than to sum what is in them. Does nothing if the environment has settings for the heap.
void keep_freed_pages();

}  // namespace shoal::torch_backend
