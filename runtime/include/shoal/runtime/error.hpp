// The one way to fail.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>

namespace shoal {

/// What every function of Shoal throws. `what()` is one line that names rank, host, operation, what
/// went wrong and what to do about it:
///
///     rank 3 on node7: redistribute over tp: shapes differ (4096 and 8192 rows); pass the same
///     shape on all ranks
class Error : public std::runtime_error {
 public:
  /// `operation`: what was being done, e.g. "all_reduce over tp". `problem`: what went wrong, with
  /// the numbers. `cure`: what the user can do; may be empty where the problem says it.
  Error(std::string_view operation, std::string_view problem, std::string_view cure = {});

  /// The text without rank and host: the same on every rank that met the same problem, so that a
  /// report to the user can be printed once.
  const std::string& message() const noexcept { return message_; }

 private:
  std::string message_;
};

/// The user's input is at fault (a flag, a mesh, a file that is not there), and the same on all
/// ranks: a program reports it once and exits with status 2. Every other Error exits with 1.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Another rank did not answer in time, or MPI could not reach it. What the ranks do together cannot
/// go on: a program lets it end the run, even where it would live with another Error (a checkpoint
/// that cannot be written). After it, call nothing collective.
class PeerError : public Error {
 public:
  using Error::Error;
};

/// What an exception says; an Error without rank and host, so that another one can name it as its
/// cause.
std::string text_of(const std::exception_ptr& failure);

/// Rank and host that Error puts in front of its text; the Runtime sets them. Rank −1: not yet known.
void set_process_identity(int rank, std::string_view host);
/// "rank 3 on node7", or only the host before MPI has started.
std::string process_identity();

}  // namespace shoal
