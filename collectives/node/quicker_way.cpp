#include "node/quicker_way.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace shoal {
namespace {

// Of a trial the first call finds the caches as the other way left them, and counts for nothing. The others are
// two, since programs alternate: between two buffers, two roots.
constexpr int trial_calls = 3;
constexpr double least_gain = 0.95;  // one of so much of the other's time is the quicker
// Between trials.
constexpr int least_calls = 16;
constexpr int most_calls = 4096;
// The usual way takes so many times what it did: the other may be the quicker by now.
constexpr double changed = 1.3;

}  // namespace

void TwoWays::plan_trial() noexcept {
  constexpr double most_cost = 0.02;
  const auto [quick, slow] = std::minmax(times_[0], times_[1]);
  const double calls = trial_calls * (slow / quick - 1) / most_cost;
  trial_at_ = static_cast<int>(std::clamp<double>(calls, least_calls, most_calls));
  expected_ = time_of(usual_);
  calls_ = 0;
}

void TwoWays::note(bool read, double seconds) noexcept {
  double& time = time_of(read);
  if (read != usual_) {
    if (tried_ < 0 || tried_++ == 0) return;
    trial_time_ += seconds / (trial_calls - 1);
    if (tried_ < trial_calls) return;
    time = std::exchange(trial_time_, 0);
    tried_ = -1;
    if (time < least_gain * time_of(usual_)) usual_ = read;
    return plan_trial();
  }
  if (calls_++ < 0) return;
  // A call that was interrupted says little of the next.
  time = time == 0 ? seconds : time + (std::min(seconds, 2 * time) - time) / 4;
  const double other = time_of(!usual_);
  if (other > 0 && other < least_gain * time) {
    usual_ = !usual_;
    return plan_trial();
  }
  if (calls_ >= trial_at_ || (calls_ >= least_calls && expected_ > 0 && time > changed * expected_)) {
    tried_ = 0;
  }
}

QuickerWay::Kind QuickerWay::kind_of(const Call& call) noexcept {
  return {call.operation, std::bit_width(call.bytes())};
}

bool QuickerWay::reads(const Call& call) {
  return decides_ ? ways_[kind_of(call)].reads() : last_[kind_of(call)];
}

void QuickerWay::note(const Call& call, bool read, double seconds) {
  if (decides_) {
    ways_[kind_of(call)].note(read, seconds);
  } else {
    last_[kind_of(call)] = read;
  }
}

}  // namespace shoal
