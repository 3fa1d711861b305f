#pragma once

#include <cstdint>

#include "dispatch.hpp"

namespace shoal::kernels {

/// Element-by-element functions on ranges.
struct ActivationKernels {
  void (*gelu)(std::int64_t n, const float* x, float* y);
  void (*gelu_gradient)(std::int64_t n, const float* x, const float* dy, float* dx);
  /// One row: x += bias (may be null), y = GELU(x).
  void (*bias_gelu)(std::int64_t n, float* x, const float* bias, float* y);
  void (*add)(std::int64_t n, const float* a, const float* b, float* out);
  /// One row: out = residual + (branch + bias).
  void (*bias_residual)(std::int64_t n, const float* residual, const float* branch,
                        const float* bias, float* out);
};

SHOAL_DECLARE_KERNELS(ActivationKernels, activation_kernels)

}  // namespace shoal::kernels
