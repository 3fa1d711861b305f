// What the passes of a head have in common, whatever multiplies. To be included by *.simd.cpp files
// only.
#pragma once

#include "attention_kernels.hpp"
#include "philox.hpp"
#include "simd_math.hpp"
#include "small_product.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {

// Query rows that share one length of causal prefix.
inline constexpr Index strip = attention_strip;

inline Index smaller(Index a, Index b) { return a < b ? a : b; }
inline Index round_up(Index n) { return (n + panel_floats - 1) / panel_floats * panel_floats; }

inline void round_row(Index n, float* x) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) x[i] = as_float(bf16_bits(x[i]));
}

// Probabilities of a row from its first `valid` scores; zeros up to `width`. Gives log Σ exp.
inline float softmax_row(float* s, Index valid, Index width, float scale) {
  float max = -infinity;
#pragma omp simd reduction(max : max)
  for (Index j = 0; j < valid; ++j) max = s[j] > max ? s[j] : max;
  const float shift = max * scale;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index j = 0; j < valid; ++j) {
    const float e = exp_of(s[j] * scale - shift);
    s[j] = e;
    sum += e;
  }
  const float factor = 1.0f / sum;
#pragma omp simd
  for (Index j = 0; j < valid; ++j) s[j] *= factor;
  for (Index j = valid; j < width; ++j) s[j] = 0.0f;
  return shift + __builtin_logf(sum);
}

inline void drop_row(const AttentionHead& head, Index i, float* s) {
  const std::uint64_t first =
      head.first_element + static_cast<std::uint64_t>(i) * static_cast<std::uint64_t>(head.time);
  dropout_range(head.stream, first, i + 1, head.threshold, head.keep_scale, s, s);
}

// Σ_j p·dp of row i, which equals dout·out (Dao et al. 2022, appendix B), with dropout too.
inline float output_dot(const AttentionHead& head, const AttentionGradients& gradients, Index i) {
  float dot = 0;
  const float* const o = gradients.out + i * head.out_row;
  const float* const g = gradients.dout + i * head.out_row;
#pragma omp simd reduction(+ : dot)
  for (Index d = 0; d < head.head_dim; ++d) dot += o[d] * g[d];
  return dot;
}

// In place: scores become probabilities, products of dout and v become gradients of the scores.
inline void gradient_row(const AttentionHead& head, Index i, Index width, float log_sum_exp,
                         float dot_out, float* s, float* ds) {
  const Index valid = i + 1;
  if (head.drop) drop_row(head, i, ds);
#pragma omp simd
  for (Index j = 0; j < valid; ++j) {
    const float p = exp_of(s[j] * head.scale - log_sum_exp);
    s[j] = p;
    ds[j] = p * (ds[j] - dot_out) * head.scale;
  }
  for (Index j = valid; j < width; ++j) {
    s[j] = 0.0f;
    ds[j] = 0.0f;
  }
  if (head.drop) drop_row(head, i, s);
  if (head.round_bf16) {
    round_row(width, s);
    round_row(width, ds);
  }
}

inline void scatter(const AttentionHead& head, Index begin, Index end, const float* dense,
                    float* x) {
  for (Index t = begin; t < end; ++t) {
    for (Index d = 0; d < head.head_dim; ++d) x[t * head.row + d] = dense[t * head.head_dim + d];
  }
}

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
