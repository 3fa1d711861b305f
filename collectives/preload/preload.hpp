// libshoal_pmpi.so: Shoal's collectives under an MPI program that knows nothing of them.
//
//     mpirun -n 4 -x LD_PRELOAD=.../libshoal_pmpi.so program
//
// The dynamic linker finds our MPI_Allreduce before MPI's, which stays reachable as PMPI_Allreduce.
// Whether a call is taken over must come out alike on all ranks of its communicator, or they would
// wait for each other in different places. Two kinds of facts decide:
//
//  - What MPI requires to be the same on all ranks: the communicator, the operation, and by the
//    rule that signatures match, the number of bytes; for a reduction also the kind of element and
//    the operator. Each rank decides by these alone, before it tells the others anything.
//  - What may differ: a derived type here where another rank has a plain one. On one node a rank
//    with such a reason still meets the others, announces that it declines, and then all of them,
//    having read that, call PMPI (NodePath::declined). Between nodes nobody meets all others: there
//    it packs its data, and takes part (over_nodes.hpp).
//
// What Shoal needs for a communicator is made at the first call on it that qualifies; if it spans
// nodes, at one of the next, since connecting takes longer (between.hpp). Its ranks agree whether
// they have it, and if one has not, all leave the communicator to MPI for good. An error after that
// (ranks that call different things, a limit set by SHOAL_TIMEOUT, a peer that has closed its
// connection) goes to the communicator's error handler, as one of MPI's own would.
//
// A communicator that spans nodes has connections of its own for its collectives, and only
// algorithms run there whose messages all take these: MPI's messages on the program's handle are
// the program's. Only calls that are quicker than MPI's are taken (gain.hpp).
//
// While a rank waits in here it drives MPI's progress, as MPI_Allreduce would: the rank it waits
// for may itself wait for a message of this one.
//
// Non-blocking calls may wait for nobody, so that nothing can be made or agreed on in them: see
// requests.hpp. Programs that make a shoal::Runtime are MPI's.
#pragma once

#include <mpi.h>

#include <memory>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/communicator.hpp>

#define SHOAL_EXPORT __attribute__((visibility("default")))

namespace shoal::preload {

/// While one lives, MPI calls of this thread are Shoal's own and go straight to MPI.
class Inside {
 public:
  Inside() noexcept { ++depth; }
  ~Inside() { --depth; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  static bool now() noexcept { return depth > 0; }

 private:
  static thread_local int depth;
};

/// True from the end of MPI_Init to MPI_Finalize, if all ranks could be set up.
bool active() noexcept;

/// Prints what went wrong and calls the error handler of `comm`, which may not return.
int fail(MPI_Comm comm, const char* what) noexcept;

}  // namespace shoal::preload
