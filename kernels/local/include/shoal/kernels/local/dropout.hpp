// Dropout without a stored mask.
#pragma once

#include <cstdint>

#include <shoal/kernels/local/random.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// Dropout (Srivastava et al. 2014) whose mask is a function of the key and the element's index, so
/// that backward recomputes it and a shard draws what the whole tensor would.
struct Dropout {
  float probability = 0;  ///< of an element to become 0; in [0, 1)
  RandomKey key;
};

/// y[j] = x[j]/(1 − p) if element first_index + j is kept, else 0. y may be x; p = 0 copies. Throws
/// Error if p is not in [0, 1).
void dropout_forward(const Dropout& dropout, std::uint64_t first_index, Index n, const float* x,
                     float* y);

/// dx = gradient of dropout_forward: the same mask and scale applied to dy. dx may be dy.
void dropout_backward(const Dropout& dropout, std::uint64_t first_index, Index n, const float* dy,
                      float* dx);

}  // namespace shoal::kernels
