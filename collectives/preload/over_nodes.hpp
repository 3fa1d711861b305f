// Calls on communicators over several nodes. There is no such meeting as within a node, where a
// rank with a reason of its own can decline: so one that describes its data by a derived type packs
// it, and takes part.
#pragma once

#include <mpi.h>

#include <optional>

#include <shoal/collectives/registry.hpp>

#include "preload/groups.hpp"
#include "preload/report.hpp"

namespace shoal::preload {

/// What a rank passes to MPI: `data` may be MPI_IN_PLACE, and is not written if it is what goes.
struct Elements {
  const void* data = nullptr;
  int count = 0;
  MPI_Datatype type = MPI_DATATYPE_NULL;
};

// Each does the call on a group that has a `between`, and returns the code that MPI returns;
// nothing if the call is MPI's, on all ranks alike.

/// A call whose buffers are as Shoal wants them.
std::optional<int> take_over_between(MPI_Comm comm, const Group& group, const Call& call,
                                     Tally& tally);
/// All-gather or all-to-all: `call` without buffers, of blocks of `bytes`.
std::optional<int> movement_between(MPI_Comm comm, const Group& group, Call call, Bytes bytes,
                                    const Elements& in, const Elements& out, Tally& tally);
/// `call` may be run as it is if the type is plain.
std::optional<int> broadcast_between(MPI_Comm comm, const Group& group, Call call,
                                     const Elements& elements, Tally& tally);

}  // namespace shoal::preload
