// The health watch: the ranks look after each other, so that a run whose rank is gone ends by
// itself and says why.
//
// A thread on each rank, which never calls MPI, talks TCP along a tree: the ranks of a node to the
// lowest of them, those to rank 0. Each tells its parent at every beat what it does (from the
// flight recorder). A peer is dead when its connection closes before it took leave, silent when no
// beat came for Settings::silence; the main thread may compute as long as it likes, only the
// watch's own thread has to beat. What ends the run goes up to rank 0, which collects the records
// of all ranks that answer, says once what happened, writes the records to a file, and tells all to
// end. Where rank 0 is gone, its children do so in its place. Where every rank has reported an error
// in the same words, these are all that is said. mpirun's daemon on a host does not outlast its ranks
// for long, even if it has lost mpirun.
//
// This is what bounds the blocking calls of MPI (creation of communicators, MPI_Finalize, the "mpi"
// algorithms), which have no deadline of their own: with a peer gone the process ends from outside.
// Before start() there is StartAlarm.
#pragma once

#include <mpi.h>

#include <memory>
#include <string>

#include "communicator_impl.hpp"

namespace shoal::watch {

/// Starts the thread, unless there is only one rank or a rank has SHOAL_WATCH=off; returns once
/// this rank is connected, or cannot be. Collective over `world`. Throws Error without a socket.
void start(MPI_Comm world, const WorldTable& table);

/// Ends it. `together`: not before the ranks below this one in the tree have ended theirs, so that
/// nobody is left alone in MPI_Finalize.
void stop(bool together) noexcept;

/// Ends the run because of an error of this rank: does not return if the watch runs. `status`: of
/// the processes.
void report(const std::string& text, int status) noexcept;

/// Before this rank aborts the run: its end is no news to the others.
void leave_quietly() noexcept;

}  // namespace shoal::watch
