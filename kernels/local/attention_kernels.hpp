#pragma once

#include <cstdint>

#include "dispatch.hpp"
#include "random_kernels.hpp"

namespace shoal::kernels {

/// One head of one sequence. Tokens of q, k and v lie `row` elements apart, those of out and dout
/// `out_row`.
struct AttentionHead {
  std::int64_t time, head_dim, row, out_row;
  const float *q, *k, *v;
  float scale;      ///< of the scores: 1/√head_dim
  bool round_bf16;  ///< operands of the products are rounded to bf16
  bool drop;
  PhiloxStream stream;
  std::uint64_t first_element;  ///< dropout index of probability (0, 0)
  std::uint32_t threshold;
  float keep_scale;
};

/// Query rows handled together.
inline constexpr std::int64_t attention_block = 64;

/// Distance between rows of a block's scores: whole vectors of every variant, and no power of two,
/// whose rows would compete for the same lines of the cache.
inline std::int64_t attention_score_stride(std::int64_t time) { return (time + 31) / 32 * 32 + 16; }

/// Floats of working memory for one head.
inline std::int64_t attention_forward_work(std::int64_t time, std::int64_t head_dim) {
  return (attention_score_stride(time) + head_dim) * attention_block +
         2 * attention_score_stride(time) * head_dim;
}
inline std::int64_t attention_backward_work(std::int64_t time, std::int64_t head_dim) {
  return 2 * attention_score_stride(time) * attention_block +
         7 * attention_score_stride(time) * head_dim;
}

struct AttentionKernels {
  /// Rows of the blocks first_block, first_block + stride, ... of out and log_sum_exp.
  void (*forward)(const AttentionHead& head, std::int64_t first_block, std::int64_t stride,
                  float* out, float* log_sum_exp, float* work);
  /// Writes dq, dk and dv, laid out as q, k and v.
  void (*backward)(const AttentionHead& head, const float* out, const float* log_sum_exp,
                   const float* dout, float* dq, float* dk, float* dv, float* work);
};

SHOAL_DECLARE_KERNELS(AttentionKernels, attention_kernels)

}  // namespace shoal::kernels
