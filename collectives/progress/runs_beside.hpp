// What a communicator of non-blocking collectives knows of itself.
#pragma once

#include <shoal/runtime/communicator.hpp>

namespace shoal {

/// Whether the collectives of a communicator go on beside a computation on the same cores.
struct RunsBeside {
  explicit RunsBeside(const Communicator&) {}
  bool yes = false;
};

}  // namespace shoal
