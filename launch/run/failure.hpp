// Which rank failed first, from what mpirun or srun say at the end.
#pragma once

#include <optional>
#include <string>

namespace shoal::launch {

/// "rank 3 was killed by signal 9 (Killed)" or "rank 3 ended with status 7".
std::string status_text(const std::string& who, int status);

/// The rank that failed first.
struct RankFailure {
  int rank = -1;
  std::string host;  ///< empty: not told
  int status = 0;    ///< exit status; 128 + N if signal N killed it
  /// "rank 3 on node7 was killed by signal 9 (Killed)".
  std::string text() const;
};

/// The host that mpirun lost its daemon on, if it says so.
std::optional<std::string> find_lost_host(const std::string& starter_text);

/// Whether mpirun says that its own daemons on the hosts did not come up, so that no rank has begun.
bool never_began(const std::string& starter_text);

/// Finds it in the text of mpirun or srun; nothing if that tells of no failed rank. (Open MPI 4
/// loses the line that names it now and then; its exit status is right all the same.)
std::optional<RankFailure> find_failure(const std::string& starter_text);

}  // namespace shoal::launch
