// Keeps signal handlers away from a stretch of code, and for good from the threads that start in it.
#pragma once

#include <csignal>

namespace shoal {

/// While one exists, asynchronous signals wait; they are delivered when it goes, or to another thread
/// that takes them. A thread starts with the signals blocked that are blocked in the one that starts it:
/// so one of these stands where Shoal starts a thread, for signals are for the program's own. And one
/// stands before every parallel region of the kernels: oneDNN's fp32 kernels use a small block of the
/// heap as their stack, and the frame of a handler, several KiB with the vector registers in it, would be
/// written over whatever lies before that block. Two system calls, well under a microsecond.
class SignalsHeld {
 public:
  SignalsHeld() noexcept {
    sigset_t held;
    sigfillset(&held);
    // These are about the code that runs now, and end the process anyway; blocked they would do so
    // without a word.
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

}  // namespace shoal
