#include "start_alarm.hpp"

#include <pthread.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/settings.hpp>

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

StartAlarm::StartAlarm() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { wait(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
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
  // The first ranks speak first; the run has ended before the others would.
  const Seconds patience = settings().timeout + Seconds(launched_rank() == 0 ? 0 : 1);
  std::unique_lock lock(mutex_);
  if (changed_.wait_for(lock, patience, [this] { return started_; })) return;
  const std::string text =
      "shoal: " + process_identity() + ": start: not all ranks came within " +
      std::to_string(static_cast<long long>(settings().timeout.count())) +
      " s; see whether one was stopped or its host is not reached, or raise SHOAL_TIMEOUT "
      "(seconds)\n";
  std::fputs(text.c_str(), stderr);
  std::_Exit(1);
}

}  // namespace shoal
