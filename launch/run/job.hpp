// One start of a job, watched to its end.
#pragma once

#include <optional>
#include <string>

#include "command_line.hpp"
#include "failure.hpp"
#include "signals.hpp"

namespace shoal::launch {

/// How a job is shown, and how it is asked to stop.
struct JobOptions {
  Starter starter = Starter::mpirun;
  bool quiet = false;    ///< only rank 0, without prefix
  bool verbose = false;  ///< the words of mpirun or srun too
  /// The program takes SIGUSR1 as the wish to stop in good order, as `shoal train` does. Others get
  /// SIGTERM, and by mpirun's hand a SIGKILL one second later.
  bool stops_in_order = false;
  /// Where the ranks write their output; empty: to this process's. Rank 0's alone if `quiet`.
  std::string* captured_output = nullptr;
};

/// How it ended.
struct JobEnd {
  int status = 0;       ///< of the first rank that failed; 128 + N after the user's signal N
  int user_signal = 0;  ///< the signal that this process got, 0: none
  std::optional<RankFailure> failure;
  std::optional<std::string> lost_host;  ///< mpirun's connection to it broke
  /// The job had failed, and yet the starter waited: for a host that is cut off, most likely.
  bool starter_hung = false;
  bool began = true;  ///< false: no rank ran, for mpirun's daemons did not come up
  /// Why, for people: "rank 3 on node7 ended with status 1".
  std::string text() const;
};

/// Starts the job and returns when nothing of it is left on this machine, nor, after a failure, on
/// the other hosts as far as they can be reached. Signals of `signals` are passed on: the first one
/// asks, the second one insists, the third one kills.
JobEnd run_job(const JobLine& job, const JobOptions& options, SignalQueue& signals);

}  // namespace shoal::launch
