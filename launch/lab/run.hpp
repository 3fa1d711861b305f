// Running MPI programs over the hosts of a lab.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "state.hpp"

namespace shoal::launch::lab {

struct RunOptions {
  std::optional<int> ranks;           ///< none: as many as the hosts take
  std::optional<int> ranks_per_host;  ///< none: as few as will do
  std::vector<std::string> mpi_args;  ///< further words for mpirun
  std::vector<std::string> command;   ///< program and arguments; "shoal" is this executable
};

/// Ranks in all, and the most on one host; hosts are filled in order.
struct RankCounts {
  int ranks = 0;
  int per_host = 0;
};
/// Throws UsageError if they do not fit.
RankCounts count_ranks(int hosts, std::optional<int> ranks, std::optional<int> per_host);

/// Runs mpirun in host 0, which starts the other hosts' daemons through `lab agent`. Passes Ctrl-C
/// on. Returns the exit status; nothing of the run is left then, on any host.
int run_mpi(const Lab& lab, const RunOptions& options);

/// Runs a program on this machine's own cores, outside of any lab, with as many compute threads: "shoal" is
/// this executable. Returns its exit status.
int run_outside(std::vector<std::string> command, int threads);

/// What mpirun calls as `lab agent LAB HOST COMMAND...` instead of ssh: becomes the command in the
/// host.
[[noreturn]] void run_agent(std::vector<std::string> words);

/// Becomes a shell in a host.
[[noreturn]] void run_shell(const Lab& lab, int host);

}  // namespace shoal::launch::lab
