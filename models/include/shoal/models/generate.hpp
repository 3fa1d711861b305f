// Text from a trained model.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <shoal/models/gpt.hpp>

namespace shoal::models {

/// How the next token is chosen. The defaults are those of nanoGPT's sample.py.
struct GenerateOptions {
  Index tokens = 500;         ///< to add to the prompt
  double temperature = 0.8;   ///< divides the logits; 0: always the likeliest token
  Index top_k = 200;          ///< only the k likeliest tokens can be chosen; 0: all of them
  std::uint64_t seed = 1337;
};

/// Picks a token from its scores, with a number in [0, 1). Throws Error if a score is not a number.
std::int32_t sample(std::span<const float> logits, double temperature, Index top_k,
                    double uniform);

/// Adds tokens to `prompt` one at a time, each chosen from the scores that the model gives after the
/// last block_size tokens. The random numbers are a function of the seed and of how many tokens were
/// added, and rank 0 of the mesh chooses for all, so every rank returns the same: the prompt and
/// what follows. `on_token` is called for each new token. Throws UsageError for an empty prompt or
/// options out of range. Collective over the model's mesh.
std::vector<std::int32_t> generate(Gpt& model, std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options,
                                   const std::function<void(std::int32_t)>& on_token = {});

}  // namespace shoal::models
