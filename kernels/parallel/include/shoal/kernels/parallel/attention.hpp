// Causal self-attention with the heads divided over the ranks of a tensor-parallel group.
#pragma once

#include <shoal/kernels/local/attention.hpp>
#include <shoal/kernels/local/dropout.hpp>
#include <shoal/kernels/parallel/linear.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/placement.hpp>

namespace shoal::kernels {

/// Multi-head causal self-attention (Vaswani et al. 2017) with its two projections: a
/// column-parallel one to queries, keys and values of this rank's heads, and a row-parallel one back.
/// Scores of a head never leave the rank that has it.
class HeadParallelAttention {
 public:
  /// Parameters or their gradients. Rows of `qkv_weight`: queries of the local heads, then keys,
  /// then values. Biases may be null.
  template <class T>
  struct Weights {
    T* qkv_weight = nullptr;   ///< [3, local heads, head_dim, width]
    T* qkv_bias = nullptr;     ///< [3, local heads, head_dim]
    T* proj_weight = nullptr;  ///< [width, local heads · head_dim]
    T* proj_bias = nullptr;    ///< [width]
  };

  /// What forward leaves for backward; the caller owns the memory.
  struct Saved {
    float* qkv = nullptr;          ///< [rows, 3, local heads, head_dim]
    float* attended = nullptr;     ///< [rows, local heads, head_dim]
    float* log_sum_exp = nullptr;  ///< [batch, local heads, time]
  };

  /// `heads` must divide `width`, and the group's size must divide `heads` (UsageError). `group`
  /// must outlive the layer.
  /// With Activations::by_rows x, y, dx and dy have this rank's rows only (linear.hpp).
  HeadParallelAttention(const Communicator& group, Index width, Index heads, Precision precision,
                        Activations activations = Activations::whole);

  Index local_heads() const noexcept { return heads_.size; }
  Index head_dim() const noexcept { return head_dim_; }

  /// y[batch·time, width] (summed over the group) from x[batch·time, width]. `first_batch`: number,
  /// in the global batch, of the first sequence; dropout's stream depends on it.
  void forward(Index batch, Index time, const float* x, const Weights<const float>& weights,
               const Saved& saved, float* y, const Dropout& dropout,
               std::uint64_t first_batch) const;

  /// `dx`[batch·time, width] (written; summed over the group). `gradients` are added to or written,
  /// as `how` says. `dqkv` and `dattended` are work space of the sizes of saved.qkv and
  /// saved.attended.
  void backward(Index batch, Index time, const float* x, const Weights<const float>& weights,
                const Saved& saved, const float* dy, float* dx, const Weights<float>& gradients,
                float* dqkv, float* dattended, const Dropout& dropout, std::uint64_t first_batch,
                Gradients how = Gradients::add) const;

 private:
  AttentionShape shape(Index batch, Index time, std::uint64_t first_batch) const;

  Index total_heads_;
  Index head_dim_;
  Block heads_;
  Precision precision_;
  ColumnParallelLinear qkv_;
  RowParallelLinear proj_;
};

}  // namespace shoal::kernels
