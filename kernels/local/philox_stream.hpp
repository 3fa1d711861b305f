#pragma once

#include <shoal/kernels/local/dropout.hpp>
#include <shoal/kernels/local/random.hpp>

#include "random_kernels.hpp"

namespace shoal::kernels {

/// Philox's key is the seed, its counter (index, step, site). The upper half of the step, which
/// real runs do not reach, goes into the key.
inline PhiloxStream philox_stream(const RandomKey& key) {
  return {static_cast<std::uint32_t>(key.seed),
          static_cast<std::uint32_t>(key.seed >> 32) ^ static_cast<std::uint32_t>(key.step >> 32),
          static_cast<std::uint32_t>(key.step), key.site};
}

/// Constants of a dropout: elements whose random word is below `threshold` become 0.
struct DropoutConstants {
  std::uint32_t threshold;
  float scale;
};

/// Throws Error if the probability is not in [0, 1).
DropoutConstants dropout_constants(const Dropout& dropout);

}  // namespace shoal::kernels
