// Ctrl-C and kill as a wish to stop.
#pragma once

#include <csignal>

namespace shoal::launch {

/// While one lives, the first SIGINT, SIGTERM or SIGUSR1 is only noted; another one, at least a second
/// later, ends the process at once. (mpirun and batch systems may both deliver the first.) SIGUSR1 is
/// the one that mpirun and srun pass on to all ranks without ending the job.
class StopSignal {
 public:
  StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  ~StopSignal();

  /// The signal once it has come, 0 before.
  int received() const noexcept;

 private:
  // Given back at the end: the health watch has a handler of its own.
  struct sigaction interrupt_before_ {};
  struct sigaction terminate_before_ {};
  struct sigaction user_before_ {};
};

}  // namespace shoal::launch
