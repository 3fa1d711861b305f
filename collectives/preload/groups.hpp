// What Shoal keeps for each communicator of the program.
#pragma once

#include <mpi.h>

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

#include "preload/beside.hpp"
#include "preload/between.hpp"

namespace shoal::preload {

struct Requests;

/// A communicator whose ranks all can meet in node-shared memory, or reach each other by
/// connections.
struct Group : std::enable_shared_from_this<Group> {
  explicit Group(Communicator&& of) : comm(std::move(of)) {}
  Communicator comm;
  std::unique_ptr<Between> between;    ///< null: all ranks are on one node
  std::unique_ptr<Beside> beside;      ///< with `between`, for non-blocking calls; null at first
  int requested = 0;                   ///< non-blocking calls so far, up to calls_before_beside
  std::vector<Index> counts;           ///< by rank, for the call under way
  std::atomic<bool> freed{false};      ///< by the program: MPI's handle is no longer valid
  std::shared_ptr<Requests> requests;  ///< non-blocking ones; null until the first
};

/// The program's communicator `comm`, or null if its calls, or this one, are MPI's. Collective: the
/// first time, and where there are several nodes at one of the next calls or, `at_once`, at this
/// one. Valid until the program frees it.
Group* group_of(MPI_Comm comm, bool at_once = false);
/// For a non-blocking call: the same where an earlier call has made it, else null; local. As calls on
/// a communicator have one order, it is the same on all its ranks.
Group* group_for_request(MPI_Comm comm);

/// Before groups are made, and after the last.
void start_groups();
/// Frees what is left.
void stop_groups() noexcept;

}  // namespace shoal::preload
