#include "stop_signal.hpp"

#include <csignal>
#include <ctime>

namespace shoal::launch {
namespace {

volatile std::sig_atomic_t received_signal = 0;
volatile std::sig_atomic_t first_second = 0;  // monotonic clock; seconds fit for decades

std::sig_atomic_t now() noexcept {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::sig_atomic_t>(time.tv_sec);
}

void note(int signal) {
  if (received_signal == 0) {
    first_second = now();
    received_signal = signal;
  } else if (now() - first_second > 1) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

}  // namespace

StopSignal::StopSignal() {
  received_signal = 0;
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &interrupt_before_);
  sigaction(SIGTERM, &action, &terminate_before_);
}

StopSignal::~StopSignal() {
  sigaction(SIGINT, &interrupt_before_, nullptr);
  sigaction(SIGTERM, &terminate_before_, nullptr);
}

int StopSignal::received() const noexcept { return received_signal; }

}  // namespace shoal::launch
