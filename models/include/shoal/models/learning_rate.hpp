// The learning rate as a function of the step.
#pragma once

#include <cstdint>

namespace shoal::models {

/// nanoGPT's schedule: linear warm-up, then a cosine (Loshchilov & Hutter 2017) down to a smallest
/// rate, which stays.
struct LearningRate {
  double peak = 6e-4;
  double smallest = 6e-5;
  std::int64_t warmup_steps = 2000;
  std::int64_t decay_steps = 600000;  ///< step at which `smallest` is reached
  bool decay = true;                  ///< false: `peak` at every step, without warm-up

  /// Rate of the update that is made at `step` (from 0).
  double at(std::int64_t step) const noexcept;
};

}  // namespace shoal::models
