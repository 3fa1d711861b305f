// What a Gpt is made of on one rank: its stage of the model, and the room that passes over it need.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <shoal/collectives/bucketed_all_reduce.hpp>
#include <shoal/kernels/parallel/cross_entropy.hpp>
#include <shoal/kernels/parallel/embedding.hpp>
#include <shoal/kernels/parallel/linear.hpp>
#include <shoal/models/gpt.hpp>
#include <shoal/models/pipeline_schedule.hpp>
#include <shoal/models/stage.hpp>
#include <shoal/runtime/buffer.hpp>

#include "gpt_block.hpp"
#include "gpt_parameters.hpp"
#include "late_embedding.hpp"
#include "parameter_gather.hpp"
#include "stage_links.hpp"

namespace shoal::models {

/// What travels between stages: the type in which products are computed.
DType wire_type(const GptConfig& config) noexcept;

struct Gpt::Impl {
  Impl(const GptConfig& gpt_config, const Mesh& over, std::uint64_t seed,
       const MemorySavings& savings, const Traffic& traffic);

  /// What a round over several micro-batches is for.
  struct Round {
    std::span<const TokenBatch> batches;
    std::vector<Pass> passes;  // of each batch
    bool backward = false;
    double scale = 1;
    bool last = false;  // no round after it adds to these gradients
    double loss = 0;
  };

  // gpt_passes.cpp: the passes of one micro-batch over this stage.
  Block rows_of(const Pass& pass) const;
  void gather_rows(const Pass& pass, float* all_rows) const;
  void embed(const Pass& pass, const TokenBatch& batch, float* out);
  void forward(const Round& round, std::size_t micro);
  void final_norm_forward(const Pass& pass);
  void final_norm_backward(const Pass& pass);
  double head(const Pass& pass, const std::int32_t* targets);
  double head_with_gradient(const Pass& pass, const std::int32_t* targets, double scale,
                            kernels::Gradients how);
  void backward(const Round& round, std::size_t micro, kernels::Gradients how);
  void embedding_backward(const Round& round, std::size_t micro);

  // gpt_rounds.cpp: what belongs to a round of them.
  void make_room(Index batch, Index time, Index batches_in_flight);
  Pass start(const TokenBatch& batch) const;
  Round begin(std::span<const TokenBatch> batches, bool with_backward);
  void run(Round& round);
  void end(Round& round);
  kernels::Gradients start_gradients();
  void adopt_parameters();
  void finish_zeroing();

  const float* weight(Index offset) const {
    return offset < 0 ? nullptr : parameters.data() + offset;
  }
  float* gradient(Index offset) const { return offset < 0 ? nullptr : gradients.data() + offset; }
  // Of a micro-batch in flight, the input of a layer of this stage, and what its backward needs.
  std::size_t slot_of(std::size_t micro) const {
    return micro % static_cast<std::size_t>(in_flight);
  }
  Buffer<float>& input_of(std::size_t micro, std::size_t layer) {
    return inputs[slot_of(micro) * blocks.size() + layer];
  }
  BlockActivations& saved_of(std::size_t micro, std::size_t layer) {
    return saved[recompute ? 0 : slot_of(micro) * blocks.size() + layer];
  }
  LateEmbedding* late() { return late_embedding ? &*late_embedding : nullptr; }
  // True of the pass after which no row of the embedding comes any more, where this stage has its tokens.
  bool announces_rows(const Round& round, std::size_t micro) const {
    return late_embedding && stage.first() && is_last(round, micro);
  }
  static bool is_last(const Round& round, std::size_t micro) {
    return round.last && micro + 1 == round.batches.size();
  }

  GptConfig config;
  const Mesh* mesh;
  Stage stage;
  bool recompute;
  bool sharded;  // the optimizer, over more than one dp rank
  bool by_rows;  // sequence parallelism, over more than one tp rank
  ParameterLayout layout;
  Buffer<float> parameters;
  Buffer<float> gradients;
  bool gradients_are_stale = false;  // meant to be zero, but not written yet
  kernels::VocabParallelEmbedding embedding;
  kernels::VocabParallelCrossEntropy cross_entropy;
  kernels::ColumnParallelLinear output;  // its weight is the embedding's
  std::vector<GptBlock> blocks;          // of this stage
  std::optional<StageLinks> links;       // with other stages, if there are
  PipelineTimes pipeline_times;
  // Where there is more than one dp rank: the sum of gradients, by what is done together.
  std::optional<BucketedAllReduce> dp_sum;
  std::vector<std::size_t> stage_ends;  // pieces of dp_sum up to the end of each backward stage
  // Where dp_sum goes on beside the backward pass: what the embedding adds to the head's gradient.
  std::optional<LateEmbedding> late_embedding;
  std::optional<ParameterGather> gather;  // where sharded
  Buffer<float> masters;                  // of what is owned, where weights travel in bf16
  std::vector<Block> whole;               // else all of the array is owned

  // Room for the largest batch seen, and as many of them as were in flight.
  Index room_batch = 0;
  Index room_time = 0;
  Index in_flight = 0;
  std::vector<Buffer<float>> inputs;       // of each block, for each in flight
  std::vector<BlockActivations> saved;     // likewise, or of the one block that is at work
  std::optional<std::size_t> saved_micro;  // with recomputation: whose last block that one holds
  std::vector<BlockWorkspace> work;        // one, or none before the first batch
  Buffer<float> final_input, final_norm, final_mean, final_rstd;  // on the last stage
  Buffer<float> final_sums;  // likewise, of gain and bias, where rows are divided
  Buffer<float> dx;
  Buffer<float> dhidden, logits;  // on the last stage
};

}  // namespace shoal::models
