// Ranks that do input and output together succeed or fail together.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <shoal/runtime/communicator.hpp>

namespace shoal {

/// Runs `work` on each rank. If it throws anywhere, every rank throws an Error with the text of the
/// lowest rank that failed (a UsageError if that was one). Collective; the wait for the others is
/// bounded: where one does not come this throws PeerError, as the other two do.
void together(const Communicator& comm, const std::function<void()>& work);

/// The text of rank 0, on all. Collective.
std::string broadcast_text(const Communicator& comm, std::string text);

/// The texts of all ranks, on rank 0; empty elsewhere. Collective.
std::vector<std::string> gather_texts(const Communicator& comm, const std::string& text);

}  // namespace shoal
