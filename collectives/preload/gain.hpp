// Where Shoal is faster than Open MPI between nodes.
#pragma once

#include <shoal/collectives/registry.hpp>

namespace shoal::preload {

/// Whether a call over several nodes is worth taking over, as measured; `alone`: every rank has a
/// node to itself. The same on all ranks.
bool gains(const Call& call, bool alone) noexcept;
/// The same of a non-blocking call.
bool gains_beside(const Call& call, bool alone) noexcept;

}  // namespace shoal::preload
