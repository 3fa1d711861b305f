// What a caller may ask of a collective beside its arguments.
#pragma once

#include <cstdint>
#include <string>

#include <shoal/runtime/units.hpp>

namespace shoal {

/// What a caller makes of a collective: an operation that Shoal itself does not have.
enum class Purpose : std::uint8_t { itself, reduce, gather, scatter };

/// What a library on top of Shoal lets ranks compare beside the arguments of a call. Where they compare these
/// (on one node, between nodes in checked mode) a difference is an Error on all ranks, as one of these is.
struct Meaning {
  Purpose purpose = Purpose::itself;
  /// Of a purpose: the rank that gets the result, or brings the input.
  Rank root = 0;
  /// Any number for a type, or a way to combine, that goes by one of Shoal's in this call.
  std::uint8_t variant = 0;
};

struct CollectiveOptions {
  /// Name of the algorithm to use (see registry.hpp), the same on every rank. Empty: the cheapest
  /// one that applies. An unknown name throws UsageError; one that does not apply throws Error.
  std::string algorithm;
  /// Sums (and averages) of f32, f64, bf16 and f16 are the exact sum, rounded once: the same bits
  /// whatever the order and number of ranks, the algorithm and the machines. Other reductions are
  /// done in the order of ranks. The same on every rank. SHOAL_REPRODUCIBLE=1 sets it for all calls.
  bool reproducible = false;
  Meaning meaning = {};
};

}  // namespace shoal
