// Where large tensors lie, so that collectives need not copy them.
#pragma once

#include <shoal/runtime/units.hpp>

namespace shoal::torch_backend {

/// From here on large tensors made in this process have pages of their own, and it is known which, so that those
/// that are summed again can be lent to the ranks of the node (recurring.hpp). Needs the Session.
void keep_book_of_tensors();

/// From here on tensors of at least so many bytes come from this rank's node-shared heap, while it has
/// room. Needs the Session. Where ranks cannot share memory nothing changes. A child made by fork() has
/// such tensors in common with its parent, as after torch's share_memory_().
void share_tensors(Bytes at_least);

}  // namespace shoal::torch_backend
