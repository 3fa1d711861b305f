#include "start_alarm.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/settings.hpp>
#include <shoal/runtime/signals_held.hpp>

namespace shoal {
namespace {

// As the launcher says, since MPI cannot yet; 0 if it does not.
int launched_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const char* text = std::getenv(name)) return std::atoi(text);
  }
  return 0;
}

}  // namespace

// The environment is read before the thread starts: MPI_Init changes it meanwhile, and who reads it at
// that moment may find memory that is gone.
StartAlarm::StartAlarm()
    // The first ranks speak first; the run has ended before the others would.
    : patience_(settings().timeout + Seconds(launched_rank() == 0 ? 0 : 1)) {
  const SignalsHeld held;
  thread_ = std::thread([this] { wait(); });
}

StartAlarm::~StartAlarm() {
  {
    const std::lock_guard lock(mutex_);
    started_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StartAlarm::wait() {
  std::unique_lock lock(mutex_);
  if (changed_.wait_for(lock, patience_, [this] { return started_; })) return;
  const std::string text =
      "shoal: " + process_identity() + ": start: not all ranks came within " +
      std::to_string(static_cast<long long>(settings().timeout.count())) +
      " s; see whether one was stopped or its host is not reached, or raise SHOAL_TIMEOUT "
      "(seconds)\n";
  std::fputs(text.c_str(), stderr);
  std::_Exit(1);
}

}  // namespace shoal
