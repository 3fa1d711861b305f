// GPT-2's architecture on a mesh: data-parallel over axis dp, tensor-parallel over axis tp, and its
// layers divided into the stages of a pipeline over axis pp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/view.hpp>

namespace shoal::models {

/// Size and form of a GPT-2 (Radford et al. 2019), with the names that nanoGPT gave them.
struct GptConfig {
  Index vocabulary = 50304;  ///< number of token ids
  Index block_size = 1024;   ///< longest context, in tokens
  Index layers = 12;
  Index heads = 12;          ///< must divide width, and be divisible by the tp axis
  Index width = 768;         ///< n_embd
  bool bias = true;          ///< biases in linear layers and LayerNorms
  float dropout = 0.0f;      ///< probability, in embeddings, attention and residual branches
  kernels::Precision precision = kernels::Precision::fp32;
  /// Standard deviation of the initial weights; 0: initial_deviation(width).
  float init_std = 0.0f;

  friend bool operator==(const GptConfig&, const GptConfig&) = default;
};

/// Throws UsageError if no GPT of this form can be laid over `tensor_parallel` ranks: heads that do
/// not divide, fewer token ids than ranks, extents below 1, 1e15 parameters or more, a dropout outside
/// [0, 1).
void check(const GptConfig& config, int tensor_parallel);

/// 0.02·sqrt(768/width): GPT-2's 0.02 at the width it was chosen for, and the 1/sqrt(width) that keeps
/// activations of one size at any width (LeCun et al. 1998, Efficient BackProp, section 4.6; Glorot &
/// Bengio 2010). With a plain 0.02 narrow models start nearly dead: on tiny-shakespeare nanoGPT's CPU
/// configuration (width 128) ends at a validation loss of 1.91 instead of 1.77.
float initial_deviation(Index width);

/// Number of parameters of the whole model (the tied embedding counted once).
Index parameter_count(const GptConfig& config);
/// Floating-point operations of forward and backward for one token in a sequence of `time` tokens:
/// 6 for each weight in a matrix product, 12·layers·width·time for attention (the PaLM paper's
/// count, Chowdhery et al. 2022, appendix B).
double training_flops_per_token(const GptConfig& config, Index time);

/// This rank's share of a batch: `sequences` rows of `time` token ids.
struct TokenBatch {
  Index sequences = 0;
  Index time = 0;
  const std::int32_t* inputs = nullptr;   ///< [sequences, time]
  const std::int32_t* targets = nullptr;  ///< [sequences, time]
  std::int64_t first_sequence = 0;        ///< number, in the global batch of all dp ranks, of row 0
};

/// A parameter as this rank holds it: a block of the global tensor.
struct Parameter {
  std::string name;          ///< as in nanoGPT: "transformer.h.0.attn.c_attn.weight"
  Shape global;              ///< shape of the whole tensor
  std::vector<Block> block;  ///< this rank's range in each dimension
  Index number = 0;          ///< its place in the whole model's list of parameters
  Index offset = 0;          ///< of this rank's block in parameters()
  Index size = 0;            ///< elements of this rank's block
  bool sharded = false;      ///< divided over tp (otherwise every tp rank holds all of it)
  bool decay = false;        ///< weight decay applies (matrices, not biases and gains)
};

/// A run of parameters that the optimizer treats alike.
struct ParameterGroup {
  Index begin = 0;
  Index size = 0;
  bool sharded = false;
  bool decay = false;
};

/// What makes training need less memory; what is learned stays the same.
struct MemorySavings {
  /// A block keeps only its input for the backward pass, which makes the rest again from it: about a
  /// third more multiplications (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost).
  bool recompute = false;
  /// Each dp rank has the moments of, and updates, a part of the parameters (ZeRO-1, Rajbhandari et
  /// al. 2020): as many bytes travel as without.
  bool shard_optimizer = false;
  /// Between the tensor-parallel layers each tp rank has some of the rows only (Korthikanti et al. 2022,
  /// Reducing Activation Recomputation in Large Transformer Models): norms and residuals are divided,
  /// too, as are their activations; as many bytes travel as without, and between stages each rank's rows.
  bool sequence_parallel = false;
};

/// In which types the dp ranks exchange what they have computed. All products are as precise as
/// GptConfig says, whatever travels, and all sums are made in fp32.
struct Traffic {
  /// Of the gradients: f32, or bf16 for half the bytes. Each is then rounded to bf16 (2^-8 of it at
  /// most) before it is sent, and so is each sum of some ranks' that is sent on. The sum is deterministic.
  DType gradients = DType::f32;
  /// Of new weights, where the optimizer is sharded: f32, or bf16 for half the bytes. Each rank then has the
  /// weights that it updates in fp32 as well (Gpt::masters), which is what learns and what checkpoints
  /// hold; all compute with the rounded ones, which are what products of bf16 operands take anyway.
  DType weights = DType::f32;
};

/// Memory of one rank for training, by purpose.
struct MemoryUse {
  Bytes parameters = 0;
  Bytes gradients = 0;
  Bytes optimizer = 0;    ///< both moments
  Bytes activations = 0;  ///< that wait for the backward pass
  Bytes workspace = 0;    ///< gradients of activations, logits
  Bytes checkpoint = 0;   ///< the copy from which one is written
  Bytes staging = 0;      ///< of collectives and matrix products, about

  Bytes total() const noexcept {
    return parameters + gradients + optimizer + activations + workspace + checkpoint + staging;
  }
};

struct Stage;

/// The model, of which each rank of pp has a stage (stage.hpp). Weights live in one flat array a
/// rank, gradients in another (node-shared, so that the dp all-reduce is one call without a copy).
/// All ranks of the mesh must make the same calls; the tp and pp ranks of one dp group must pass
/// the same batches.
class Gpt {
 public:
  /// Draws the initial weights from `seed`: normal with the deviation config.init_std, residual
  /// projections divided by sqrt(2·layers) (Radford et al. 2019); they do not depend on the mesh.
  /// `mesh` must outlive the model.
  Gpt(const GptConfig& config, const Mesh& mesh, std::uint64_t seed,
      const MemorySavings& savings = {}, const Traffic& traffic = {});
  Gpt(Gpt&&) noexcept;
  ~Gpt();

  const GptConfig& config() const noexcept;
  const Mesh& mesh() const noexcept;
  /// What this rank has of the layers.
  const Stage& stage() const noexcept;

  /// Forward and backward. Adds `scale` times the gradient of the sum of the token losses to
  /// gradients(); returns that sum (natural logarithm), of this rank's share of the batch, on the
  /// last stage, and 0 on the others. Dropout's random stream is a function of (seed, step,
  /// element's global index). `last`: no further pass adds to these gradients, so that between
  /// nodes their sum over dp begins as they are done; they must not be touched before
  /// reduce_gradients().
  double accumulate_gradients(const TokenBatch& batch, double scale, std::uint64_t seed,
                              std::uint64_t step, bool last = false);
  /// The same of several micro-batches: number i takes the random numbers of step first_step + i.
  /// On several stages they follow each other through the pipeline, one forward, one backward
  /// (Narayanan et al. 2021, Efficient Large-Scale Language Model Training on GPU Clusters Using
  /// Megatron-LM); what is learned is that of one after the other.
  double accumulate_gradients(std::span<const TokenBatch> micro_batches, double scale,
                              std::uint64_t seed, std::uint64_t first_step, bool last = false);
  /// Forward only, without dropout: the sum of the token losses of this rank's share, on the last
  /// stage, and 0 on the others.
  double loss(const TokenBatch& batch);
  /// Of several batches, which follow each other through the stages.
  double loss(std::span<const TokenBatch> batches);
  /// Forward only: scores of every token id for the token after the last, for each sequence:
  /// [sequences, vocabulary], whole on every rank of a dp group.
  void next_token_logits(const TokenBatch& batch, std::span<float> logits);

  /// This rank's weights and gradients, flat, in the same order.
  std::span<float> parameters() noexcept;
  /// Where weights travel in bf16: those of owned() in fp32, one range after the other, which are what
  /// learns; parameters() then are rounded, the same on all ranks. Otherwise empty.
  std::span<float> masters() noexcept;
  /// Takes what is in parameters(), the same on all dp ranks, for the weights in fp32.
  void adopt_parameters();
  std::span<float> gradients() noexcept;
  void zero_gradients();
  /// Sums the gradients over the dp axis, or waits for what has begun. With a sharded optimizer only
  /// those of owned() are the sums afterwards.
  void reduce_gradients();
  /// The ranges of the flat arrays that this rank updates: all of it, or with a sharded optimizer its
  /// parts, which over the dp axis are all.
  std::span<const Block> owned() const noexcept;
  /// True if that is not all of it.
  bool shards_optimizer() const noexcept;
  /// owned()[range], or its masters(), has its new values; ranges come in order. Collective over dp.
  void updated(std::size_t range);
  /// Returns when every rank has all new values. Collective over dp.
  void finish_update();
  /// The share of the gradients whose sum over dp was complete when the last reduce_gradients() was
  /// called; nothing where dp is 1.
  std::optional<double> summed_early() const noexcept;
  /// Of the last round of micro-batches on this rank; of its time, `waited` is what it waited for
  /// other stages.
  struct PipelineTimes {
    Seconds total{0};
    Seconds waited{0};
  };
  const PipelineTimes& pipeline_times() const noexcept;

  std::span<const Parameter> parameter_list() const noexcept;
  std::span<const ParameterGroup> groups() const noexcept;
  /// Memory in use: parameters, gradients, and what the largest batch so far has needed.
  MemoryUse memory() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::models
