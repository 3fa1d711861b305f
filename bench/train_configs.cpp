#include "train_configs.hpp"

#include <cstdint>
#include <random>
#include <vector>

#include <shoal/runtime/error.hpp>

namespace shoal::bench {
namespace {

models::GptConfig gpt(Index vocabulary, Index block, Index layers, Index heads, Index width) {
  models::GptConfig config;
  config.vocabulary = vocabulary;
  config.block_size = block;
  config.layers = layers;
  config.heads = heads;
  config.width = width;
  config.bias = false;
  return config;
}

const TrainConfig configs[] = {{"nano", gpt(65, 64, 4, 4, 128), 12, 20, 200},
                               {"small", gpt(1024, 128, 6, 6, 384), 8, 5, 40},
                               {"gpt2", gpt(50304, 64, 12, 12, 768), 4, 3, 15},
                               {"gpt2-512", gpt(50304, 512, 12, 12, 768), 4, 1, 5}};

}  // namespace

const TrainConfig& train_config(const std::string& name) {
  for (const TrainConfig& config : configs) {
    if (name == config.name) return config;
  }
  throw UsageError("bench", "there is no configuration \"" + name + "\"",
                   "choose among nano, small, gpt2, gpt2-512");
}

kernels::Precision train_precision(const std::string& type) {
  if (type == "fp32") return kernels::Precision::fp32;
  if (type == "bf16") return kernels::Precision::bf16;
  throw UsageError("bench", "\"" + type + "\" is not one of fp32, bf16");
}

models::Dataset random_tokens(const models::GptConfig& config) {
  std::mt19937_64 random(1337);
  const auto draw = [&](Index count) {
    std::vector<std::uint16_t> tokens(static_cast<std::size_t>(count));
    for (auto& token : tokens) {
      token = static_cast<std::uint16_t>(random() % static_cast<std::uint64_t>(config.vocabulary));
    }
    return tokens;
  };
  return models::Dataset(models::Tokenizer::ids(config.vocabulary), draw(100000),
                         draw(config.block_size + 1), config.block_size);
}

}  // namespace shoal::bench
