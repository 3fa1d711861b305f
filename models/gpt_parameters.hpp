// Where each parameter of a Gpt lies in a rank's flat array, and how it starts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <shoal/models/gpt.hpp>
#include <shoal/models/stage.hpp>

namespace shoal::models {

/// Offsets, in the flat array, of the parameters of one transformer block; −1: not there.
struct BlockOffsets {
  Index ln1_gain, ln1_bias;
  Index qkv_weight, qkv_bias, proj_weight, proj_bias;
  Index ln2_gain, ln2_bias;
  Index fc_weight, fc_bias, fc_proj_weight, fc_proj_bias;
};

/// The flat array of one stage: first what decays and is sharded, then what decays and is whole,
/// then the same without decay, so that the optimizer runs over four long stretches.
struct ParameterLayout {
  std::vector<Parameter> list;
  std::vector<ParameterGroup> groups;
  std::vector<BlockOffsets> blocks;  ///< of the stage's layers
  Index token_embedding = -1;        ///< as the others: −1 where another stage has it
  Index position_embedding = -1;
  Index final_gain = -1;
  Index final_bias = -1;
  Index size = 0;  ///< the same on all tp ranks
  std::vector<Block> gaps;  ///< what belongs to no parameter
};

/// The layout of `stage` on rank `tp_rank` of `tp_size`.
ParameterLayout lay_out_parameters(const GptConfig& config, const Stage& stage, int tp_size,
                                   int tp_rank);

/// The ranges of the flat array whose gradients are done together, in the order of the backward pass:
/// final norm, blocks from the last to the first, of each the MLP's products and then the rest, embeddings.
/// `head_first`: the token embedding, which is the head, in the first stage (late_embedding.hpp).
std::vector<std::vector<Block>> backward_stages(const ParameterLayout& layout, bool head_first);

/// GPT-2's initial weights. A weight's value depends on seed, parameter and its place in the whole
/// tensor only.
void initialise(const GptConfig& config, const ParameterLayout& layout, std::uint64_t seed,
                std::span<float> parameters);

}  // namespace shoal::models
