// What a caller may ask of a collective beside its arguments.
#pragma once

#include <string>

namespace shoal {

struct CollectiveOptions {
  /// Name of the algorithm to use (see registry.hpp), the same on every rank. Empty: the cheapest
  /// one that applies. An unknown name throws UsageError; one that does not apply throws Error.
  std::string algorithm;
};

}  // namespace shoal
