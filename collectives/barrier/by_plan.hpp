// Barrier among members of a communicator by messages.
#pragma once

#include <span>

#include <shoal/runtime/communicator.hpp>

namespace shoal {

/// By dissemination: in step k a member tells the one 2^k after it, and hears from the one 2^k
/// before it. `members`: ranks in `comm`, of which this is number `me`.
void dissemination_barrier(const Communicator& comm, std::span<const Rank> members, int me);

}  // namespace shoal
