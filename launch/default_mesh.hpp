// The mesh of a run that was not told one.
#pragma once

#include <string>

#include <shoal/runtime/mesh.hpp>

namespace shoal::launch {

/// The mesh that `text` names, or, if it is empty, as much tensor parallelism as the heads allow (it
/// keeps one batch's latency low) and data parallelism over the rest: tp is the greatest common
/// divisor of ranks and heads. Throws UsageError if the text is not a mesh of `ranks` ranks.
MeshShape choose_mesh(const std::string& text, int ranks, Index heads);

}  // namespace shoal::launch
