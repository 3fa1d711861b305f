// Signals to this process, as something to wait for.
#pragma once

#include <csignal>
#include <optional>

#include "process.hpp"

namespace shoal::launch {

/// While one lives, SIGINT, SIGTERM, SIGHUP and SIGCHLD wake `descriptor` instead of ending or
/// interrupting the process.
class SignalQueue {
 public:
  SignalQueue();
  SignalQueue(const SignalQueue&) = delete;
  SignalQueue& operator=(const SignalQueue&) = delete;
  ~SignalQueue();

  int descriptor() const noexcept { return descriptor_.get(); }
  /// The next signal that came, if one has; does not wait.
  std::optional<int> next();

 private:
  sigset_t before_{};
  Descriptor descriptor_;
};

}  // namespace shoal::launch
