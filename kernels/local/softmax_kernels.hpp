#pragma once

#include <cstdint>

#include "dispatch.hpp"

namespace shoal::kernels {

/// Functions on one row of n elements.
struct SoftmaxKernels {
  void (*forward)(std::int64_t n, const float* x, float* y);
  void (*backward)(std::int64_t n, const float* y, const float* dy, float* dx);
  /// Largest element and Σ exp(x − max).
  void (*max_and_sum)(std::int64_t n, const float* x, float* max, float* sum);
  /// x = exp(x − log_sum_exp)·scale.
  void (*scaled_exp)(std::int64_t n, float log_sum_exp, float scale, float* x);
};

SHOAL_DECLARE_KERNELS(SoftmaxKernels, softmax_kernels)

}  // namespace shoal::kernels
