// How quickly cores reach each other's caches, at the moment.
#pragma once

#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// Between the first two ranks of a node. It hangs on where the cores lie (one third-level cache,
/// two, two sockets), and a virtual machine's are moved while it runs: then collectives whose data
/// one rank writes and another reads take several times as long, and those on buffers that stay in
/// place do not.
struct Crossing {
  double meeting = 0;           ///< seconds of a barrier of the two
  double bytes_per_second = 0;  ///< that one copies of what the other has just written
};

/// Collective, some 30 ms. `world`: ranks of one node, two at least.
Crossing measure_crossing(const Communicator& world);

}  // namespace shoal::bench
