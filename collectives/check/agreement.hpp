// Checked mode: SHOAL_CHECK=1 lets the ranks compare their calls before each collective.
#pragma once

#include <cstdint>
#include <string_view>

#include <shoal/collectives/registry.hpp>

namespace shoal {

/// In checked mode: waits until every rank of the communicator has come to its next collective, and
/// throws Error on all of them if it is not the same one everywhere: operation, count and counts by
/// rank, type, reduction, root, and the algorithm asked for. Names the ranks that did not come at
/// the deadline. Otherwise does nothing. (The collectives in node-shared memory compare in any
/// case.)
void check_agreement(const Call& call, std::uint64_t sequence, std::string_view algorithm);

}  // namespace shoal
