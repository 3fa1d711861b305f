#pragma once

#include <cstdint>

#include "dispatch.hpp"

namespace shoal::kernels {

/// An AdamW step with the bias corrections worked in.
struct AdamWConstants {
  float beta1, beta2, one_minus_beta1, one_minus_beta2;
  float decay;           ///< 1 − lr·weight_decay
  float step_size;       ///< lr/(1 − β₁^t)
  float inv_sqrt_bias2;  ///< 1/√(1 − β₂^t)
  float epsilon, grad_scale;
};

/// Functions on ranges.
struct OptimizerKernels {
  void (*adamw)(const AdamWConstants& k, std::int64_t n, float* params, const float* grads,
                float* m, float* v);
  double (*sum_of_squares)(std::int64_t n, const float* x);
};

SHOAL_DECLARE_KERNELS(OptimizerKernels, optimizer_kernels)

}  // namespace shoal::kernels
