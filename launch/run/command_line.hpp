// The line that starts a job: mpirun's or srun's.
#pragma once

#include <string>

#include "layout.hpp"
#include "pins.hpp"
#include "process.hpp"

namespace shoal::launch {

/// Who starts the ranks.
enum class Starter {
  mpirun,  ///< Open MPI's own, through ssh or, in an allocation, through Slurm
  srun,    ///< Slurm's, with PMIx
};

/// A job as it is to be started.
struct JobLine {
  Layout layout;
  Words program;
  bool name_hosts = false;  ///< false: this machine alone, no host is named
  std::string rsh_agent;    ///< mpirun's way to other hosts; empty: ssh
  Pins pins;                ///< where the ranks are bound, if not where mpirun would
};

/// The words of the line, to be run as they are or printed with shell_line. Ranks are bound to a
/// core for each of their threads, unless they are oversubscribed: then they are bound to nothing
/// and those that wait let others work. Variables of SHOAL_, OMP_, OPENBLAS_, ONEDNN_ and the
/// search paths go along to other hosts. Works as root.
Words mpirun_line(const JobLine& job);
Words srun_line(const JobLine& job);

}  // namespace shoal::launch
