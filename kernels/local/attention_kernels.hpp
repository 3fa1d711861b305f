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

/// Query rows, and rows of keys in the second half of the backward pass, that are one piece of work.
inline constexpr std::int64_t attention_strip = 8;

/// Floats of working memory for one head.
inline std::int64_t attention_forward_work(std::int64_t time, std::int64_t head_dim) {
  return (attention_score_stride(time) + head_dim) * attention_block +
         2 * attention_score_stride(time) * head_dim;
}
/// With room for the scores of `blocks` blocks of query rows at a time.
inline std::int64_t attention_backward_work(std::int64_t time, std::int64_t head_dim,
                                            std::int64_t blocks) {
  return 2 * attention_score_stride(time) * attention_block * blocks +
         7 * attention_score_stride(time) * head_dim;
}

/// What the backward pass of a head reads beside it, and writes: dq, dk and dv are laid out as q, k and v.
struct AttentionGradients {
  const float *out, *log_sum_exp, *dout;
  float *dq, *dk, *dv;
};

struct AttentionKernels {
  /// Rows of the blocks first_block, first_block + stride, ... of out and log_sum_exp.
  void (*forward)(const AttentionHead& head, std::int64_t first_block, std::int64_t stride,
                  float* out, float* log_sum_exp, float* work);

  // The backward pass in pieces, for one thread or for several, which share `work` with its room
  // for `blocks` blocks. Sums are added to in the order of the query rows, so that the bits are the
  // same.

  /// Copies and zeros for the tokens begin … end, whole blocks of them but for the last.
  void (*prepare)(const AttentionHead& head, const AttentionGradients& gradients,
                  std::int64_t begin, std::int64_t end, std::int64_t blocks, float* work);
  /// A strip of query rows from row `first` on, of the blocks from row `begin` on: its probabilities, the
  /// gradients of its scores, and its rows of dq. After all of prepare.
  void (*queries)(const AttentionHead& head, const AttentionGradients& gradients,
                  std::int64_t first, std::int64_t begin, std::int64_t blocks, float* work);
  /// Adds to the sums of the strip of keys from `first` on what the query rows begin … end give. After
  /// queries() of all of them.
  void (*keys)(const AttentionHead& head, std::int64_t first, std::int64_t begin, std::int64_t end,
               std::int64_t blocks, float* work);
  /// The sums of the keys begin … end to dk and dv.
  void (*finish)(const AttentionHead& head, const AttentionGradients& gradients,
                 std::int64_t begin, std::int64_t end, std::int64_t blocks, float* work);
};

SHOAL_DECLARE_KERNELS(AttentionKernels, attention_kernels)

namespace avx512_bf16 {
/// For heads whose head_dim is a multiple of 16, where operands are rounded to bf16.
extern const AttentionKernels attention_kernels;
}  // namespace avx512_bf16

}  // namespace shoal::kernels
