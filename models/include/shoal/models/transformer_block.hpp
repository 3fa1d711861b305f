// One block of a Gpt by itself: for measurements, and for programs with layers of their own around it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include <shoal/kernels/parallel/linear.hpp>
#include <shoal/models/gpt.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/placement.hpp>

namespace shoal::models {

/// x + attention(LayerNorm(x)), then that + MLP(LayerNorm(that)): GPT-2's block (Radford et al. 2019),
/// divided over a tensor-parallel group (Shoeybi et al. 2019), with its weights, their gradients and
/// what forward keeps for backward.
class TransformerBlock {
 public:
  /// For batches of batch·time tokens. Of `config` heads, width, bias, dropout and precision count.
  /// Weights are drawn from `seed` and do not depend on the group, which must outlive the block. With
  /// Activations::by_rows rank r has block_of(batch·time, ranks, r) of input, output and their gradients.
  /// Throws UsageError for a form that cannot be, as check() does.
  TransformerBlock(const GptConfig& config, const Communicator& group, Index batch, Index time,
                   std::uint64_t seed,
                   kernels::Activations activations = kernels::Activations::whole);
  TransformerBlock(TransformerBlock&&) noexcept;
  ~TransformerBlock();

  /// Of the batch·time rows, those of input and output that this rank has.
  Block rows() const noexcept;

  /// output[rows().size, width] from input, which must not change before backward(). Collective.
  void forward(const float* input, float* output);
  /// `gradient`[rows().size, width], best in node-shared memory: in, that of the output; out, that of the
  /// input. The weights' gradients are written. Collective.
  void backward(float* gradient);

  /// This rank's weights and gradients, flat, in the same order; parameter_list() says where each lies.
  std::span<float> parameters() noexcept;
  std::span<float> gradients() noexcept;
  std::span<const Parameter> parameter_list() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::models
