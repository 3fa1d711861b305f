// What the benches of training train.
#pragma once

#include <string>

#include <shoal/models/dataset.hpp>
#include <shoal/models/gpt.hpp>

namespace shoal::bench {

/// A model and its batch.
struct TrainConfig {
  const char* name;
  models::GptConfig model;
  Index batch_size;  ///< sequences of block_size tokens
  int warm_up;       ///< steps before the first that is timed
  int steps;         ///< that take some seconds
};

/// "nano": nanoGPT's CPU configuration on tiny-shakespeare. "small": 6 layers of width 384, 8 x 128 tokens.
/// "gpt2": GPT-2 124M with the batch of
/// llm.c's CPU trainer, "gpt2-512": with 4 x 512 tokens. Throws UsageError for another name.
const TrainConfig& train_config(const std::string& name);

/// From "fp32" or "bf16". Throws UsageError.
kernels::Precision train_precision(const std::string& type);

/// Tokens without a pattern, the same on all ranks.
models::Dataset random_tokens(const models::GptConfig& config);

}  // namespace shoal::bench
