// ScaLAPACK's matrix product, where the library is installed.
#pragma once

#include <memory>

#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// C = A·B of n×n matrices of its own by psgemm, on the squarest grid of all ranks in blocks of 64.
class ScalapackProduct {
 public:
  /// Null where there is no library. Collective over the Runtime's world.
  static std::unique_ptr<ScalapackProduct> find(const Communicator& world, Index n);
  virtual ~ScalapackProduct() = default;
  virtual void run() = 0;
};

}  // namespace shoal::bench
