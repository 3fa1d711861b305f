// Keeps signal handlers away while a kernel of oneDNN runs, and from OpenMP's threads for good.
#pragma once

#include <csignal>

namespace shoal::kernels {

/// While one exists, asynchronous signals wait; they are delivered when it goes, or to another thread
/// that takes them. oneDNN's fp32 kernels use a small block of the heap as their stack: the frame of
/// a handler, several KiB with the vector registers in it, would be written over whatever lies before
/// that block. A thread starts with the signals blocked that are blocked in the one that starts it: so
/// one of these stands before every parallel region, and a signal never finds an OpenMP thread within
/// such a kernel. Two system calls, well under a microsecond.
class SignalsHeld {
 public:
  SignalsHeld() noexcept {
    sigset_t held;
    sigfillset(&held);
    // These are about the code that runs now, and end the process anyway.
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
      sigdelset(&held, fault);
    }
    pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  ~SignalsHeld() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

 private:
  sigset_t before_;
};

}  // namespace shoal::kernels
