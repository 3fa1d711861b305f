// Waiting for another rank, always bounded.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <string>

#include <shoal/runtime/settings.hpp>
#include <shoal/runtime/units.hpp>

struct pollfd;

namespace shoal {

/// How long any wait for another rank may last before it becomes a PeerError: 300 s, or the
/// environment variable SHOAL_TIMEOUT in seconds. Without limit where the Runtime is a guest
/// (Runtime::Options) and the variable is not set.
Seconds wait_timeout();

/// True if the node has at least one core (of those this run may use) for each of its ranks: then
/// waiting ranks may spin. Set by the Runtime from the topology.
bool ranks_own_their_cores() noexcept;

/// Waits of the calling thread follow `policy` from now on, whatever the process's: for threads that
/// wait beside one that computes.
void pace_this_thread(WaitPolicy policy) noexcept;

/// Waits of the calling thread are naps of 0.1 ms at most from now on, where WaitPolicy::sleep has up to
/// 1 ms: for threads that others wait for, beside one that computes.
void nap_in_this_thread() noexcept;
/// Whether this thread has called it.
bool naps_in_this_thread() noexcept;

/// Waits of the calling thread do not let MPI work from now on: for threads that may not call MPI.
void leave_mpi_alone_in_this_thread() noexcept;

/// Waits of the calling thread fail, with an Error, once `*given_up` is true: for threads whose work may
/// become pointless. It must outlive the thread.
void end_waits_when(const std::atomic<bool>* given_up) noexcept;

/// Paces a loop that waits: spins where the rank owns its core, then yields, then sleeps for moments
/// that grow, and gives up at the deadline. Which of these and for how long says SHOAL_WAIT (see
/// WaitPolicy). Time in which this process was stopped does not count. Cheap to make: reads no clock
/// before it first yields. While a Runtime lives, a wait lets MPI work now and then: a message that MPI has
/// taken may still need its sender to leave, and whoever waits for that one may be whom this waits for.
///
///     Waiter waiter;
///     while (!flag_is_set()) waiter.pause([&] { return Late{"all_reduce over tp", "rank 3 on n1"}; });
class Waiter {
 public:
  /// For the message of the PeerError at the deadline.
  struct Late {
    std::string operation;  ///< what waits
    std::string whom;       ///< whom it waits for
  };

  /// One step of waiting. `describe` is called only to make the PeerError at the deadline.
  template <class Describe>
  void pause(Describe&& describe) {
    if (count_ < spin_limit_) {
      ++count_;
      relax();
      if (count_ % spins_before_progress == 0) make_progress();
      return;
    }
    if (!pause_slowly()) fail(describe());
  }

  /// The same where what is awaited shows on sockets: asks them with poll(), and in time sleeps there.
  /// Tells of a single socket that it may be ready: the caller tries it, without a wait.
  template <class Describe>
  void pause_on(pollfd* sockets, std::size_t count, Describe&& describe) {
    if (count_ < spin_limit_) {
      ++count_;
      relax();
      ask(sockets, count);
      if (count_ % spins_before_progress == 0) make_progress();
      return;
    }
    if (!sleep_on(sockets, count)) fail(describe());
  }

 private:
  static void relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  static constexpr int spins_before_progress = 128;  // some 3 µs
  static int spins_before_yield() noexcept;
  static void make_progress() noexcept;
  bool pause_slowly();
  static void ask(pollfd* sockets, std::size_t count);
  bool sleep_on(pollfd* sockets, std::size_t count);
  bool late();
  [[noreturn]] static void fail(const Late& late);

  int spin_limit_ = spins_before_yield();
  int count_ = 0;
  int turns_ = 0;
  std::int64_t deadline_ns_ = 0;
  std::int64_t looked_ns_ = 0;  // at the clock, last
};

}  // namespace shoal
