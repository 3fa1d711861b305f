// A collective or a message under way.
#pragma once

#include <memory>

#include <shoal/runtime/units.hpp>

namespace shoal {

/// What a non-blocking call (nonblocking.hpp, point_to_point.hpp) returns. Its buffers belong to it
/// until it is done. Works may be waited for in any order, or all be left to their destructors.
/// Movable, not copyable; one thread at a time may use it.
class Work {
 public:
  struct State;

  /// Nothing, which is done.
  Work() noexcept;
  explicit Work(std::shared_ptr<State> state) noexcept;
  Work(Work&&) noexcept;
  /// Waits for the work that was here, as the destructor does.
  Work& operator=(Work&&) noexcept;
  /// Waits, and reports an Error that nobody asked for in the log. While an exception unwinds it
  /// takes back what has not begun, instead.
  ~Work();

  /// True once it is done; then throws Error if it failed. Does not wait, unless there is no thread
  /// for the background (see nonblocking.hpp): then it does the work here and now.
  bool test();
  /// Returns when it is done; throws Error if it failed. What nobody has begun is done by the calling
  /// thread.
  void wait();
  /// After wait(): how long it took, without the time in which it waited for its turn.
  Seconds took() const noexcept { return took_; }

 private:
  void let_go() noexcept;
  Seconds took_{0};
  std::shared_ptr<State> state_;
};

}  // namespace shoal
