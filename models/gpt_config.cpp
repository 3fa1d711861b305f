#include <cmath>
#include <string>

#include <shoal/models/gpt.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::models {
namespace {

// Far more than any machine holds, far less than what an Index counts, moments and bytes included.
constexpr double most_parameters = 1e15;

void require_positive(Index value, const char* name) {
  if (value < 1) {
    throw UsageError("model", std::string(name) + " is " + std::to_string(value),
                     "it must be at least 1");
  }
}

}  // namespace

void check(const GptConfig& config, int tensor_parallel) {
  require_positive(config.vocabulary, "the vocabulary");
  require_positive(config.block_size, "the block size");
  require_positive(config.layers, "the number of layers");
  require_positive(config.heads, "the number of heads");
  require_positive(config.width, "the width");
  // In fp64, since sizes that make no sense overflow the exact count.
  const auto c = static_cast<double>(config.width);
  const double parameters =
      (12 * static_cast<double>(config.layers) * c + static_cast<double>(config.vocabulary) +
       static_cast<double>(config.block_size)) * c;
  if (!(parameters < most_parameters)) {
    throw UsageError("model",
                     "width " + std::to_string(config.width) + ", " +
                         std::to_string(config.layers) + " layers, block size " +
                         std::to_string(config.block_size) + " and vocabulary " +
                         std::to_string(config.vocabulary) + " make 1e15 parameters or more",
                     "choose a smaller --n-embd, --n-layer, --block-size or vocabulary");
  }
  if (config.width % config.heads != 0) {
    throw UsageError("model",
                     std::to_string(config.heads) + " heads do not divide width " +
                         std::to_string(config.width),
                     "choose --n-head that divides --n-embd");
  }
  if (config.heads % tensor_parallel != 0) {
    throw UsageError("model",
                     std::to_string(config.heads) + " heads do not divide over tp=" +
                         std::to_string(tensor_parallel) + " ranks",
                     "choose a mesh whose tp divides --n-head");
  }
  if (config.vocabulary < tensor_parallel) {
    throw UsageError("model",
                     "a vocabulary of " + std::to_string(config.vocabulary) +
                         " ids does not divide over tp=" + std::to_string(tensor_parallel) +
                         " ranks",
                     "choose a mesh with a smaller tp");
  }
  if (!(config.dropout >= 0.0f && config.dropout < 1.0f)) {
    throw UsageError("model", "dropout is " + std::to_string(config.dropout),
                     "it must be at least 0 and below 1");
  }
  if (!(config.init_std >= 0.0f && std::isfinite(config.init_std))) {
    throw UsageError("model", "the deviation of initial weights is " +
                                  std::to_string(config.init_std),
                     "choose --init-std above 0, or 0 for the default");
  }
}

float initial_deviation(Index width) {
  return 0.02f * std::sqrt(768.0f / static_cast<float>(width));
}

Index parameter_count(const GptConfig& config) {
  const Index c = config.width;
  const Index bias = config.bias ? 1 : 0;
  const Index norm = c + bias * c;
  const Index attention = 3 * c * c + c * c + bias * (3 * c + c);
  const Index mlp = 4 * c * c + 4 * c * c + bias * (4 * c + c);
  return config.vocabulary * c + config.block_size * c +
         config.layers * (2 * norm + attention + mlp) + norm;
}

double training_flops_per_token(const GptConfig& config, Index time) {
  const auto weights =
      static_cast<double>(parameter_count(config) - config.block_size * config.width);
  return 6.0 * weights + 12.0 * static_cast<double>(config.layers) *
                             static_cast<double>(config.width) * static_cast<double>(time);
}

}  // namespace shoal::models
