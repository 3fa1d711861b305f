// What no algorithm can go below: the bytes that must cross a link between nodes.
#pragma once

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// A link between nodes, one direction.
struct Link {
  double alpha = 0;             ///< seconds, one way, of a message of 8 bytes
  double bytes_per_second = 0;  ///< of long messages
};

/// The slowest link from a node to the next one, each measured alone by messages to and fro between
/// the nodes' first ranks; the best of some tries, so that a bound computed from it is one. All zero on
/// one node. Collective; the same on all ranks.
Link measure_link(const Communicator& world);

/// Seconds in which `bytes` of an operation (of the longer of input and output) must at least
/// travel: for some node so many bytes have to come in or go out, and one message has to be waited for.
/// With N nodes, n bytes, and r of p ranks on the node that has least (or, all_to_all, most) to do:
///   all_reduce 2(N−1)/N·n (Patarasuk & Yuan 2009), reduce_scatter and all_gather (1−r/p)·n,
///   broadcast n, all_to_all r·(1−r/p)·n, barrier none.
/// 0 on one node.
double wire_bound(Operation operation, Bytes bytes, const Communicator& world, const Link& link);

}  // namespace shoal::bench
