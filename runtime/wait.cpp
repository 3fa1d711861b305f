#include <shoal/runtime/wait.hpp>

#include <mpi.h>
#include <poll.h>
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
std::atomic<bool> unbounded{false};
std::atomic<MpiProgress> mpi_progress{MpiProgress::none};

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
// The same of a thread beside one that computes: a look costs it a few microseconds of the other's time, and
// being late costs the ranks that wait for it as much as they are late.
constexpr Pace short_naps{0, 4, microseconds(20), microseconds(100)};
constexpr Pace never_leave{20000, 0, microseconds(0), microseconds(0)};

// Where poll() tells when to go on. Of 0, 20, 200 and 4000, 20 and 200 were the best for 8 bytes and for
// 4 MiB between four hosts that share two cores.
constexpr int yields_before_poll = 50;

// Where ranks share cores MPI's progress may itself yield, and a rank that is given the core only to give
// it away again, without a look at what it waits for, doubles every wait. (Four hosts that share two cores
// reduce 8 bytes in 105 µs with progress at every turn.)
constexpr int turns_before_progress = 8;

// A waiting thread looks at the clock many times a second. If it has not for so long, the process was
// stopped (a suspended job, a debugger, a machine that slept), and so perhaps was whom it waits for: that
// time is nobody's silence.
constexpr std::int64_t longest_turn_ns = 2'000'000'000;

std::atomic<const Pace*> pace{&shared_core};
thread_local const Pace* pace_of_thread = nullptr;
thread_local const std::atomic<bool>* thread_gave_up = nullptr;
thread_local bool leaves_mpi_alone = false;

bool given_up() noexcept {
  return thread_gave_up != nullptr && thread_gave_up->load(std::memory_order_relaxed);
}

const Pace& current_pace() noexcept {
  return pace_of_thread != nullptr ? *pace_of_thread : *pace.load(std::memory_order_relaxed);
}

const Pace& pace_for(WaitPolicy policy) noexcept {
  switch (policy) {
    case WaitPolicy::automatic: return own_cores ? own_core : shared_core;
    case WaitPolicy::spin: return never_leave;
    case WaitPolicy::yield: return shared_core;
    case WaitPolicy::sleep: return limited_time;
  }
  return shared_core;
}

void choose_pace() noexcept {
  WaitPolicy policy = WaitPolicy::automatic;
  try {
    policy = settings().wait;
  } catch (const UsageError&) {
    // The Runtime's constructor reports it; there is none yet.
  }
  pace = &pace_for(policy);
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
void pace_this_thread(WaitPolicy policy) noexcept { pace_of_thread = &pace_for(policy); }
void nap_in_this_thread() noexcept { pace_of_thread = &short_naps; }
bool naps_in_this_thread() noexcept { return pace_of_thread == &short_naps; }
void leave_mpi_alone_in_this_thread() noexcept { leaves_mpi_alone = true; }
void end_waits_when(const std::atomic<bool>* given_up) noexcept { thread_gave_up = given_up; }
bool ranks_own_their_cores() noexcept { return own_cores.load(std::memory_order_relaxed); }

void set_waits_unbounded(bool yes) noexcept { unbounded = yes; }

Seconds wait_timeout() {
  constexpr Seconds for_ever{1e9};
  return unbounded.load(std::memory_order_relaxed) ? for_ever : settings().timeout;
}

void set_mpi_progress(MpiProgress who) noexcept { mpi_progress = who; }

void Waiter::make_progress() noexcept {
  const MpiProgress who = mpi_progress.load(std::memory_order_relaxed);
  if (who == MpiProgress::none || leaves_mpi_alone) return;
  int flag = 1;
  if (who == MpiProgress::main_thread) MPI_Is_thread_main(&flag);
  if (flag != 0) MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_SELF, &flag, MPI_STATUS_IGNORE);
}

int Waiter::spins_before_yield() noexcept { return current_pace().spins; }

bool Waiter::late() {
  const std::int64_t now = now_ns();
  if (deadline_ns_ == 0) {
    deadline_ns_ =
        now + std::chrono::duration_cast<std::chrono::nanoseconds>(wait_timeout()).count();
  } else if (now - looked_ns_ > longest_turn_ns) {
    deadline_ns_ += now - looked_ns_;
  }
  looked_ns_ = now;
  return now > deadline_ns_ || given_up();
}

void Waiter::ask(pollfd* sockets, std::size_t count) {
  if (count == 1) {
    // One socket is as quickly tried as asked.
    sockets->revents = sockets->events;
  } else {
    poll(sockets, count, 0);
  }
}

bool Waiter::sleep_on(pollfd* sockets, std::size_t count) {
  const bool beside = pace_of_thread != nullptr;
  const int yields = beside ? 0 : std::min(current_pace().yields, yields_before_poll);
  if (turns_ >= yields || turns_ % turns_before_progress == turns_before_progress - 1) {
    make_progress();
  }
  if (late()) return false;
  if (current_pace().longest_nap.count() == 0) {
    count_ = 0;
    ask(sockets, count);
    return true;
  }
  // Waking up from poll() takes longer than a few turns do, above all if the core has gone to sleep
  // meanwhile; but beside a thread that computes every turn costs it time.
  if (turns_ < yields) {
    if (turns_++ > 0 || count == 1) sched_yield();  // several are first only asked
    ask(sockets, count);
    return true;
  }
  // Now and then it is seen whether the wait has become pointless, or MPI has something to do meanwhile.
  constexpr int milliseconds = 1;
  poll(sockets, count, milliseconds);
  return true;
}

bool Waiter::pause_slowly() {
  const Pace& how = current_pace();
  if (turns_ >= how.yields || turns_ % turns_before_progress == turns_before_progress - 1) {
    make_progress();
  }
  if (late()) return false;
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
  if (given_up()) throw Error(late.operation, "given up while it waited for " + late.whom);
  const auto seconds = static_cast<long long>(wait_timeout().count());
  throw PeerError(late.operation,
                  late.whom + " did not answer within " + std::to_string(seconds) + " s",
                  "see whether it still runs, or raise SHOAL_TIMEOUT (seconds)");
}

}  // namespace shoal
