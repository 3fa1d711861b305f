// What Shoal keeps for each communicator of the program.
#pragma once

#include <mpi.h>

#include <vector>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::preload {

/// A communicator whose ranks all can meet in node-shared memory, with stages made.
struct Group {
  Communicator comm;
  std::vector<Index> counts;  ///< by rank, for the call under way
};

/// The program's communicator `comm`, or null if its calls are MPI's. Collective the first time.
/// Valid until the program frees it.
Group* group_of(MPI_Comm comm);

/// Before groups are made, and after the last.
void start_groups();
/// Frees what is left.
void stop_groups() noexcept;

}  // namespace shoal::preload
