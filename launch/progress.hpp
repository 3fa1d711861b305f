// What a training run shows while it runs.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <shoal/models/trainer.hpp>

namespace shoal::launch {

/// A bar that is redrawn in place on a terminal, or a line every so many steps. For one rank.
class Progress {
 public:
  enum class Mode { automatic, bar, plain };
  /// "auto", "bar", "plain"; throws UsageError.
  static Mode parse_mode(const std::string& text);

  /// `automatic`: a bar if a terminal shows standard error. `first_step`: where the run starts.
  Progress(Mode mode, std::int64_t first_step, std::int64_t max_iters, std::int64_t log_interval);
  ~Progress();

  /// Shows a step.
  void step(const models::StepReport& report);
  /// Ends the bar's line.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string bar(const models::StepReport& report, int width) const;

  bool bar_;
  bool drawn_ = false;
  std::int64_t first_step_, max_iters_, log_interval_;
  Clock::time_point start_, last_drawn_;
};

}  // namespace shoal::launch
