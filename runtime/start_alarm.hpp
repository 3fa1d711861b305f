// A bound for the start of the Runtime, when nothing else watches yet.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include <shoal/runtime/units.hpp>

namespace shoal {

/// While it lives, and for no longer than SHOAL_TIMEOUT: MPI_Init and the first collectives have no
/// deadline, and a rank that was stopped on its way there keeps all others in them. At the deadline
/// says so and ends the process, by which the launcher ends the run.
class StartAlarm {
 public:
  StartAlarm();
  StartAlarm(const StartAlarm&) = delete;
  StartAlarm& operator=(const StartAlarm&) = delete;
  ~StartAlarm();

 private:
  void wait();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool started_ = false;
  const Seconds patience_;
  std::thread thread_;
};

}  // namespace shoal
