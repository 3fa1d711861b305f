// AdamW on flat arrays, and what gradient clipping needs.
#pragma once

#include <cstdint>

#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// Constants of AdamW (Loshchilov & Hutter 2019) for one step.
struct AdamW {
  float learning_rate = 0;
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  float weight_decay = 0;
  std::int64_t step = 1;  ///< from 1, for the bias correction
};

/// One step on n parameters, in one pass: with g = grads·grad_scale,
/// m = β₁m + (1−β₁)g, v = β₂v + (1−β₂)g², params −= lr·(weight_decay·params + m̂/(√v̂ + ε)).
/// Memory bound: 28 bytes a parameter (four reads, three writes). Throws Error if step < 1.
void adamw_step(const AdamW& adamw, Index n, float* params, const float* grads, float grad_scale,
                float* m, float* v);

/// Σ x² in fp64, over blocks of fixed size: the same for any number of threads. NaN spreads.
double sum_of_squares(Index n, const float* x);

/// Factor that brings gradients of norm `norm` down to max_norm: min(1, max_norm/(norm + 1e-6)), as
/// PyTorch's clip_grad_norm_. 1 if max_norm <= 0. NaN if norm is not finite, so that a broken
/// gradient shows instead of being scaled to zero.
float clip_scale(double norm, float max_norm);

}  // namespace shoal::kernels
