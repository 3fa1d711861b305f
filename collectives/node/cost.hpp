// What the shared memory of a node costs, for the formulae of the algorithms that use it: a model
// for where no tuning table is (docs/tuning.md).
#pragma once

#include "algorithm.hpp"

namespace shoal::node_cost {

inline constexpr double flag_seconds = 0.2e-6;    // a flag written by one core and seen by another
inline constexpr double shared_beta = 1.0 / 8e9;  // a byte from and to buffers that all ranks see
inline constexpr double read_beta = 1.0 / 6e9;    // a byte that the kernel reads from another process
inline constexpr double staged_beta = 1.0 / 3e9;  // a byte through the stages of the ranks

/// Two flags a rank, and `bytes` bytes at `beta` seconds each.
inline Seconds seconds(int ranks, double bytes, double beta) noexcept {
  return Seconds(2 * ranks * flag_seconds + bytes * beta);
}

/// A flag, and the above in shared buffers, with the figures of `net` where it has them.
inline double flag(const Network& net) noexcept {
  return net.node_alpha > 0 ? net.node_alpha : flag_seconds;
}
inline Seconds shared_seconds(int ranks, double bytes, const Network& net) noexcept {
  return Seconds(2 * ranks * flag(net) + bytes * (net.node_beta > 0 ? net.node_beta : shared_beta));
}

}  // namespace shoal::node_cost
