#include <shoal/runtime/wait.hpp>

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/settings.hpp>

#include "process_state.hpp"

namespace shoal {
namespace {

std::atomic<bool> own_cores{false};
std::atomic<int> world_rank{-1};

// How a policy goes about it: so many turns of spinning, so many of yielding, then sleep that starts
// at `first_nap` and doubles up to `longest_nap`.
struct Pace {
  int spins;
  int yields;
  std::chrono::microseconds first_nap;
  std::chrono::microseconds longest_nap;
};

using std::chrono::microseconds;
// Yielding is enough while the awaited rank is about to answer; after a few thousand turns it is busy
// with something long, and a waiting rank should cost nothing.
constexpr Pace own_core{20000, 4000, microseconds(50), microseconds(50)};
constexpr Pace shared_core{0, 4000, microseconds(50), microseconds(500)};
constexpr Pace limited_time{0, 20, microseconds(20), microseconds(1000)};
constexpr Pace never_leave{20000, 0, microseconds(0), microseconds(0)};

std::atomic<const Pace*> pace{&shared_core};

void choose_pace() noexcept {
  WaitPolicy policy = WaitPolicy::automatic;
  try {
    policy = settings().wait;
  } catch (const UsageError&) {
    // The Runtime's constructor reports it; there is none yet.
  }
  switch (policy) {
    case WaitPolicy::automatic: pace = own_cores ? &own_core : &shared_core; break;
    case WaitPolicy::spin: pace = &never_leave; break;
    case WaitPolicy::yield: pace = &shared_core; break;
    case WaitPolicy::sleep: pace = &limited_time; break;
  }
}

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

int process_rank() noexcept { return world_rank.load(std::memory_order_relaxed); }
void set_process_rank(int rank) noexcept { world_rank = rank; }
void set_ranks_own_their_cores(bool yes) noexcept {
  own_cores = yes;
  choose_pace();
}
bool ranks_own_their_cores() noexcept { return own_cores.load(std::memory_order_relaxed); }

Seconds wait_timeout() { return settings().timeout; }

int Waiter::spins_before_yield() noexcept { return pace.load(std::memory_order_relaxed)->spins; }

bool Waiter::pause_slowly() {
  const Pace& how = *pace.load(std::memory_order_relaxed);
  const std::int64_t now = now_ns();
  if (deadline_ns_ == 0) {
    deadline_ns_ =
        now + std::chrono::duration_cast<std::chrono::nanoseconds>(wait_timeout()).count();
  }
  if (now > deadline_ns_) return false;
  if (how.longest_nap.count() == 0) {
    count_ = 0;
    return true;
  }
  if (turns_ < how.yields) {
    sched_yield();
  } else {
    const int doublings = std::min(turns_ - how.yields, 10);
    std::this_thread::sleep_for(std::min(how.first_nap * (1 << doublings), how.longest_nap));
  }
  if (turns_ < how.yields + 10) ++turns_;
  return true;
}

void Waiter::fail(const Late& late) {
  const auto seconds = static_cast<long long>(wait_timeout().count());
  throw PeerError(late.operation,
                  late.whom + " did not answer within " + std::to_string(seconds) + " s",
                  "see whether it still runs, or raise SHOAL_TIMEOUT (seconds)");
}

}  // namespace shoal
