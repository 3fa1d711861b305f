// Ctrl-C and kill as a wish to stop.
#pragma once

#include <csignal>

namespace shoal::launch {

/// While one lives, the first SIGINT or SIGTERM is only noted; another one, at least a second later,
/// ends the process at once. (mpirun and batch systems may both deliver the first.)
class StopSignal {
 public:
  StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  ~StopSignal();

  /// SIGINT or SIGTERM once it has come, 0 before.
  int received() const noexcept;

 private:
  // Given back at the end: the health watch has a handler of its own.
  struct sigaction interrupt_before_ {};
  struct sigaction terminate_before_ {};
};

}  // namespace shoal::launch
