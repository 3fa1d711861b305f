#include <shoal/models/learning_rate.hpp>

#include <cmath>
#include <numbers>

namespace shoal::models {

double LearningRate::at(std::int64_t step) const noexcept {
  if (!decay) return peak;
  if (step < warmup_steps) {
    return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps + 1);
  }
  if (step >= decay_steps) return smallest;
  const double way = static_cast<double>(step - warmup_steps) /
                     static_cast<double>(decay_steps - warmup_steps);
  return smallest + 0.5 * (1.0 + std::cos(std::numbers::pi * way)) * (peak - smallest);
}

}  // namespace shoal::models
