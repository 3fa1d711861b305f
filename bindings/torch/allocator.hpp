// Large tensors where all ranks of the node see them, so that collectives need not copy them.
#pragma once

#include <shoal/runtime/units.hpp>

namespace shoal::torch_backend {

/// From here on tensors of at least so many bytes come from this rank's node-shared heap, while it has
/// room. Needs the Session. Where ranks cannot share memory nothing changes. A child made by fork() has
/// such tensors in common with its parent, as after torch's share_memory_().
void share_tensors(Bytes at_least);

}  // namespace shoal::torch_backend
