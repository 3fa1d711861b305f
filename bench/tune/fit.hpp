// Latency and bandwidth of messages.
#pragma once

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// The model's figures for messages between two ranks of `world`, and of a loop that adds one array to
/// another. Both send at once, as in an all-reduce of two, by the ways that collectives take; medians. A
/// byte costs what it does in the long run: switches and limited links let the first part of a message
/// pass faster, so the time of the first half of a long one (of a tenth of a second at least, or
/// `most` bytes) is not counted. Collective; it means something on `a`.
Network measure_level(const Communicator& world, Rank a, Rank b, Bytes most);

}  // namespace shoal::bench
