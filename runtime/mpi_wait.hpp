// Waiting for MPI requests with a deadline: MPI_Wait itself has none.
#pragma once

#include <mpi.h>

#include <string>

#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/wait.hpp>

namespace shoal {

/// Waits until `request` is complete. Throws PeerError naming `operation` and `whom` at the deadline.
inline void wait_for(MPI_Request& request, const char* operation, const std::string& whom) {
  Waiter waiter;
  for (;;) {
    int done = 0;
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), operation);
    if (done) return;
    waiter.pause([&] { return Waiter::Late{operation, whom}; });
  }
}

}  // namespace shoal
