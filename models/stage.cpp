#include <shoal/models/stage.hpp>

#include <algorithm>

#include <shoal/runtime/error.hpp>

namespace shoal::models {

std::vector<Stage> divide_into_stages(const GptConfig& config, int count) {
  if (count < 1 || count > config.layers) {
    throw UsageError("model",
                     std::to_string(config.layers) +
                         " layers do not divide over pp=" + std::to_string(count) + " stages",
                     "choose a mesh whose pp is at most --n-layer");
  }
  // Multiplications a token: four products of attention and MLP, scores and values; the output
  // layer.
  const auto width = static_cast<double>(config.width);
  const double layer = 12 * width * width + 2 * static_cast<double>(config.block_size) * width;
  const double head = static_cast<double>(config.vocabulary) * width;
  const Index others = count - 1;
  Index on_last = config.layers;  // with one stage
  double least = 0;
  for (Index last = 0; others > 0 && last <= config.layers - others; ++last) {
    const auto most = static_cast<double>((config.layers - last + others - 1) / others);
    const double work = std::max(most * layer, static_cast<double>(last) * layer + head);
    // Of equals the one that leaves the earlier stages, which hold more activations, less.
    if (last == 0 || work <= least) {
      least = work;
      on_last = last;
    }
  }
  std::vector<Stage> stages;
  for (int index = 0; index < count; ++index) {
    Stage stage{index, count, {config.layers - on_last, on_last}};
    if (!stage.last()) stage.layers = block_of(config.layers - on_last, others, index);
    stages.push_back(stage);
  }
  return stages;
}

std::string text_of(const std::vector<Stage>& stages) {
  std::string text;
  for (const Stage& stage : stages) {
    text += (text.empty() ? "" : "+") + std::to_string(stage.layers.size);
  }
  return text;
}

double ideal_bubble(int stages, Index micro_batches) noexcept {
  return static_cast<double>(stages - 1) / static_cast<double>(micro_batches + stages - 1);
}

}  // namespace shoal::models
