// How far a report has come, for people who wait.
#pragma once

#include <chrono>
#include <string>

namespace shoal::launch::report {

/// A bar that is redrawn in place on a terminal of `width` columns, or, with width 0, a line for each
/// measurement.
class Meter {
 public:
  /// `expected`: seconds of all measurements together; `count`: how many they are.
  Meter(int width, double expected, int count);
  ~Meter();

  /// The next measurement begins; it should take so many seconds.
  void begin(const std::string& title, double expected);
  /// Redraws the bar, from time to time.
  void tick();
  /// It is over: `how` in a few words ("12.3 s", "failed: ...").
  void end(const std::string& how);

 private:
  using Clock = std::chrono::steady_clock;
  void clear();

  int width_;
  double expected_, done_ = 0, current_ = 0;
  int count_, number_ = 0;
  std::string title_;
  Clock::time_point start_, began_;
  bool drawn_ = false;
};

/// The bar: "[=====     ] 3/9 Title, 1:02 left", cut to `width` columns. `share`: done, 0 to 1.
std::string bar_text(int width, double share, int number, int count, const std::string& title,
                     double seconds_left);

}  // namespace shoal::launch::report
