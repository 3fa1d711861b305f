// Broadcast: every rank gets the root's data.
#pragma once

#include <span>
#include <string>

#include <shoal/collectives/options.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// Copies `count` elements at `data` from rank `root` to all others. Blocking and collective: the
/// same count, type and root on every rank.
void broadcast(const Communicator& comm, void* data, Index count, DType type, Rank root,
               const CollectiveOptions& options = {});

template <class T>
void broadcast(const Communicator& comm, std::span<T> data, Rank root,
               const CollectiveOptions& options = {}) {
  broadcast(comm, data.data(), static_cast<Index>(data.size()), dtype_of<T>, root, options);
}

/// The text that rank `root` passes, whatever the others pass. Blocking and collective.
std::string broadcast_text(const Communicator& comm, std::string text, Rank root = 0);

}  // namespace shoal
