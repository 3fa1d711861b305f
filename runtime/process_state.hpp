// What the parts of runtime/ know of this process beside the Runtime object.
#pragma once

#include <vector>

namespace shoal {

/// Rank in the Runtime's world; -1 while there is none.
int process_rank() noexcept;
void set_process_rank(int rank) noexcept;
/// See wait_timeout().
void set_waits_unbounded(bool yes) noexcept;
/// Which threads may let MPI work while they wait: none outside the life of a Runtime.
enum class MpiProgress { none, main_thread, any_thread };
void set_mpi_progress(MpiProgress who) noexcept;
/// See ranks_own_their_cores().
void set_ranks_own_their_cores(bool yes) noexcept;
/// See ranks_per_thread().
void set_ranks_per_thread(double ranks) noexcept;
/// See node_threads(): by the numbers that the system gives them. While no collective runs.
void set_node_threads(const std::vector<int>& numbers);

}  // namespace shoal
