// Who does the work behind a Work.
#pragma once

#include <atomic>
#include <exception>
#include <functional>

#include <shoal/collectives/work.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// Has works under way, and ends them for those who ask.
class WorkRunner {
 public:
  WorkRunner() = default;
  WorkRunner(const WorkRunner&) = delete;
  WorkRunner& operator=(const WorkRunner&) = delete;
  virtual ~WorkRunner() = default;

  /// Returns once `work` is done, having lent a hand.
  virtual void finish(Work::State& work) = 0;
  /// True if it is done by now.
  virtual bool test(Work::State& work) = 0;
  /// Ends it without the others, who may never come to it: an exception unwinds.
  virtual void take_back(Work::State& work) noexcept = 0;
};

/// Something under way.
struct Work::State {
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  virtual ~State() = default;

  WorkRunner* runner = nullptr;                   ///< who has it; not to be touched once done
  std::function<void(const Communicator&)> body;  ///< of a collective: the blocking call
  std::atomic<bool> done{true};
  std::exception_ptr failure;  ///< read once done
  Seconds took{0};             ///< read once done
};

}  // namespace shoal
