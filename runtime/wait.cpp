#include <shoal/runtime/wait.hpp>

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include <shoal/runtime/error.hpp>

#include "process_state.hpp"

namespace shoal {
namespace {

std::atomic<bool> own_cores{false};
std::atomic<int> world_rank{-1};

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Seconds timeout_from_environment() {
  const char* text = std::getenv("SHOAL_TIMEOUT");
  if (text == nullptr || *text == '\0') return Seconds(300);
  char* end = nullptr;
  const double seconds = std::strtod(text, &end);
  if (*end != '\0' || !(seconds > 0) || seconds > 1e9) {
    throw UsageError("SHOAL_TIMEOUT", "'" + std::string(text) + "' is not a number of seconds",
                     "set it to a positive number");
  }
  return Seconds(seconds);
}

}  // namespace

int process_rank() noexcept { return world_rank.load(std::memory_order_relaxed); }
void set_process_rank(int rank) noexcept { world_rank = rank; }
void set_ranks_own_their_cores(bool yes) noexcept { own_cores = yes; }
bool ranks_own_their_cores() noexcept { return own_cores.load(std::memory_order_relaxed); }

Seconds wait_timeout() {
  static const Seconds timeout = timeout_from_environment();
  return timeout;
}

bool Waiter::pause_slowly() {
  // Yielding is enough while the awaited rank is about to answer; after a few thousand turns it is
  // busy with something long, and a waiting rank should cost nothing.
  constexpr int yields_before_sleep = 4000;
  const std::int64_t now = now_ns();
  if (deadline_ns_ == 0) {
    deadline_ns_ =
        now + std::chrono::duration_cast<std::chrono::nanoseconds>(wait_timeout()).count();
  }
  if (now > deadline_ns_) return false;
  if (yields_ < yields_before_sleep) {
    ++yields_;
    sched_yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

void Waiter::fail(const Late& late) {
  const auto seconds = static_cast<long long>(wait_timeout().count());
  throw Error(late.operation,
              late.whom + " did not answer within " + std::to_string(seconds) + " s",
              "see whether it still runs, or raise SHOAL_TIMEOUT (seconds)");
}

}  // namespace shoal
