// What a caller may ask of a collective beside its arguments.
#pragma once

#include <string>

namespace shoal {

struct CollectiveOptions {
  /// Name of the algorithm to use (see registry.hpp), the same on every rank. Empty: the cheapest
  /// one that applies. An unknown name throws UsageError; one that does not apply throws Error.
  std::string algorithm;
  /// Sums (and averages) of f32, f64, bf16 and f16 are the exact sum, rounded once: the same bits
  /// whatever the order and number of ranks, the algorithm and the machines. Other reductions are
  /// done in the order of ranks. The same on every rank. SHOAL_REPRODUCIBLE=1 sets it for all calls.
  bool reproducible = false;
};

}  // namespace shoal
