// Causal self-attention of the heads that this process holds.
#pragma once

#include <cstdint>

#include <shoal/kernels/local/dropout.hpp>
#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// Extents of an attention, and where its part lies in the whole: element (b, h, i, j) of the
/// probabilities has dropout index
/// ((first_batch + b)·total_heads + first_head + h)·time² + i·time + j.
struct AttentionShape {
  Index batch = 0;
  Index time = 0;
  Index heads = 0;
  Index head_dim = 0;
  std::uint64_t first_batch = 0;
  std::uint64_t first_head = 0;
  Index total_heads = 0;  ///< heads of all processes; 0 means `heads`
};

/// out = softmax(Q·Kᵀ/√head_dim, causal)·V a head. qkv is [batch, time, 3, heads, head_dim] (one row
/// holds q of all heads, then k, then v), out [batch, time, heads, head_dim], log_sum_exp
/// [batch, heads, time], of the scaled scores, kept for the backward pass.
///
/// Works on blocks of query rows with their causal prefix, so that no matrix of time² is ever kept
/// (Dao et al., "FlashAttention", 2022). Bound: 4·head_dim·time²/2 FLOPs a head. Results do not
/// depend on the number of threads. Precision::bf16 rounds the operands of both products to bf16.
void causal_attention_forward(const AttentionShape& shape, const float* qkv, float* out,
                              float* log_sum_exp, const Dropout& dropout, Precision precision);

/// dqkv (written, laid out as qkv) = gradient of the above for dout. Probabilities are computed anew
/// from log_sum_exp. Bound: 10·head_dim·time²/2 FLOPs a head.
void causal_attention_backward(const AttentionShape& shape, const float* qkv, const float* out,
                               const float* log_sum_exp, const float* dout, float* dqkv,
                               const Dropout& dropout, Precision precision);

}  // namespace shoal::kernels
