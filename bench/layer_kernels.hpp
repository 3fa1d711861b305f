// The kernels of a transformer block, each by itself: time, arithmetic, bytes, and the bound of both.
#pragma once

#include <string>
#include <vector>

#include <shoal/kernels/parallel/linear.hpp>
#include <shoal/runtime/communicator.hpp>

#include "torch_layer.hpp"

namespace shoal::bench {

/// One kernel of the block, with the extents that a rank has of it.
struct KernelTime {
  std::string name;
  int calls;            ///< in a forward and backward
  double operations;    ///< of one call on this rank
  double bytes;         ///< of the matrices that one call on this rank reads or writes
  double seconds;       ///< one call, all ranks at once; the slowest rank
  double bound;         ///< the longer of the arithmetic at the peak and reading as many bytes
  bool arithmetic;      ///< it is the arithmetic
};

/// Times the kernels of a block of this shape (`batch` is that of `tp`) divided over `tp`, all ranks of
/// `world` at once. `peak`: GFLOP/s of this rank. The bytes' bound is a loop that reads as many in one
/// stretch, timed in turns: so it finds them in the same level of the caches. A kernel that reads several
/// matrices at once can be a little quicker. Collective.
std::vector<KernelTime> layer_kernels(const Communicator& world, const Communicator& tp,
                                      const LayerShape& shape, kernels::Activations activations,
                                      double peak, double seconds_per_kernel);

}  // namespace shoal::bench
