// Non-blocking collectives: generalized requests of MPI, which MPI's own progress moves on.
//
// Whoever waits for a request, tests it or calls MPI for anything else turns Open MPI's progress engine,
// and that calls us (opal_progress_register, which its components use as well). So all ways to wait for
// a request are MPI's, and on one node there is no thread: a step is a look at flags and some arithmetic.
// Over several nodes a thread does the work (beside.hpp), and it is only that a request is done which
// MPI hears of in this way. Where MPI has no such engine nothing is taken over.
#pragma once

#include <mpi.h>

#include <optional>

#include <shoal/collectives/registry.hpp>

#include "preload/groups.hpp"

namespace shoal::preload {

void start_requests();
/// After the last call of the program.
void stop_requests() noexcept;
/// The same on all ranks.
bool requests_go_on() noexcept;

/// Begins an all-reduce on `group` and makes the program's request. The code is what MPI returns; nothing
/// if the call is MPI's, on all ranks alike. Waits for nobody.
std::optional<int> begin_all_reduce(Group& group, MPI_Comm comm, const Call& call, MPI_Request* request);

}  // namespace shoal::preload
