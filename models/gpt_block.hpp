// One transformer block of GPT-2, forward and backward.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>

#include <shoal/kernels/parallel/attention.hpp>
#include <shoal/kernels/parallel/linear.hpp>
#include <shoal/models/gpt.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/placement.hpp>

#include "gpt_parameters.hpp"

namespace shoal::models {

inline constexpr float norm_epsilon = 1e-5f;  // GPT-2's
// Logits exist for this many rows at a time: a vocabulary is some fifty times wider than the model.
inline constexpr Index logit_rows = 1024;

/// Where in the batch and in the random stream a pass is.
struct Pass {
  Index batch = 0;
  Index time = 0;
  std::int64_t first_sequence = 0;
  float dropout = 0;
  std::uint64_t seed = 0;
  std::uint64_t step = 0;

  Index rows() const noexcept { return batch * time; }
  /// Dropout of one kind (`site`) in this pass.
  kernels::Dropout dropout_at(std::uint32_t site) const {
    return {dropout, kernels::RandomKey{seed, step, site}};
  }
  /// Global index of the first element of a [rows, width] activation.
  std::uint64_t first_element(Index width) const {
    return static_cast<std::uint64_t>(first_sequence * time * width);
  }
};

/// Memory of these buffers together.
Bytes bytes_of(std::initializer_list<const Buffer<float>*> buffers) noexcept;

/// What one rank has of the activations of a block: all columns of some rows between the layers, some
/// columns of all rows inside them.
struct BlockExtents {
  Index batch = 0;
  Index time = 0;
  Index rows = 0;  ///< between the layers; fewer than batch·time with sequence parallelism
  Index width = 0;
  Index local_heads = 0;
  Index head_dim = 0;
  Index local_mlp = 0;
  bool by_rows = false;  ///< the rows are divided
};

/// What a block's forward keeps for its backward, beside its input.
struct BlockActivations {
  explicit BlockActivations(const BlockExtents& extents);

  Bytes bytes() const noexcept;

  Buffer<float> ln1, ln2;    ///< [rows, width]
  Buffer<float> mean1, rstd1, mean2, rstd2;  ///< [rows]
  Buffer<float> qkv, attended, log_sum_exp;
  Buffer<float> middle;      ///< [rows, width], between attention and MLP
  Buffer<float> before_gelu, after_gelu;  ///< [rows, local MLP width]
};

/// Work space that all blocks share.
struct BlockWorkspace {
  BlockWorkspace(const BlockExtents& extents, bool dropout);
  Bytes bytes() const noexcept;

  Buffer<float> branch;      ///< [rows, width], node-shared: sums over tp land here
  Buffer<float> dropped;     ///< [rows, width], a branch's gradient behind dropout
  Buffer<float> norm_sums;   ///< [4, width], where rows are divided: gradients of both norms
  Buffer<float> dqkv, dattended;
  Buffer<float> dmlp;        ///< [rows, local MLP width]
};

/// x + attention(LayerNorm(x)), then x + MLP(LayerNorm(x)) (pre-norm, GELU, four times the width). With
/// Activations::by_rows a rank has block_of(rows, tp, rank) of what lies between the layers.
class GptBlock {
 public:
  /// `tp` must outlive the block.
  GptBlock(const GptConfig& config, const Communicator& tp, Index layer,
           const BlockOffsets& offsets, kernels::Activations activations);

  /// Of this rank.
  BlockExtents extents(Index batch, Index time) const;
  /// Rows of a pass that this rank has between the layers.
  Block rows_of(const Pass& pass) const { return rows_of(pass.rows()); }

  /// From `input` to `output`, both [this rank's rows, width]. A null `output` leaves out what backward
  /// does not need: then it makes `saved` again, bit for bit.
  void forward(const Pass& pass, const float* parameters, const float* input,
               BlockActivations& saved, BlockWorkspace& work, float* output) const;
  /// `dx`[this rank's rows, width], in node-shared memory: in, the gradient of the output; out, that of
  /// the input. `how` is for the matrices' gradients; those of biases and gains are added to. Gradients
  /// of what all tp ranks have are those of all rows. Calls `products_of_mlp_done`, if it is given, once
  /// the gradients of the MLP's weights and biases are there.
  void backward(const Pass& pass, const float* parameters, float* gradients, kernels::Gradients how,
                const float* input, BlockActivations& saved, BlockWorkspace& work, float* dx,
                const std::function<void()>& products_of_mlp_done = {}) const;

 private:
  enum Site : std::uint32_t { attention_scores, attention_branch, mlp_branch, sites };
  std::uint32_t site(Site which) const {
    return static_cast<std::uint32_t>(layer_) * sites + which;
  }
  Block rows_of(Index rows) const;
  std::uint64_t first_element(const Pass& pass) const;
  void add_branch(const Pass& pass, Site which, const float* residual, float* branch,
                  const float* bias, float* output) const;
  const float* branch_gradient(const Pass& pass, Site which, const float* dx,
                               BlockWorkspace& work) const;
  // A norm's backward over this rank's rows. Where rows are divided the gradients of gain and bias go
  // to rows 2·which and after of work.norm_sums, for add_norm_sums(): one sum for the norms of a block.
  void norm_backward(const Pass& pass, const float* x, const float* gain, const float* mean,
                     const float* rstd, const float* dy, float* dx, float* dgain, float* dbias,
                     BlockWorkspace& work, Index which) const;
  // Adds the rows of work.norm_sums, summed over tp, to as many `gradients` (null: left out).
  void add_norm_sums(BlockWorkspace& work, std::initializer_list<float*> gradients) const;

  const Communicator* tp_;
  bool by_rows_;
  Index layer_;
  Index width_;
  Index local_mlp_;
  BlockOffsets at_;
  kernels::HeadParallelAttention attention_;
  kernels::ColumnParallelLinear fc_;
  kernels::RowParallelLinear fc_proj_;
};

}  // namespace shoal::models
