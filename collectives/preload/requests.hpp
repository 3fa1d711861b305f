// Non-blocking collectives: generalized requests of MPI, which MPI's own progress moves on.
//
// Whoever waits for a request, tests it or calls MPI for anything else turns Open MPI's progress engine,
// and that calls us (opal_progress_register, which its components use as well). So there is no
// thread, any thread level will do, and all ways to wait for a request are MPI's. Where MPI has no such
// engine nothing is taken over.
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

/// Begins an all-reduce on `group`, whose flags for it must be there, and makes the program's request.
/// The code is what MPI returns. Waits for nobody.
int begin_all_reduce(Group& group, MPI_Comm comm, const Call& call, MPI_Request* request);

}  // namespace shoal::preload
