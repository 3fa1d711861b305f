// Reduce-scatter: rank r gets the r-th block of the element-wise reduction of all ranks' data.
#pragma once

#include <span>

#include <shoal/collectives/options.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/reduce_op.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// `in` holds the blocks of all ranks, one after the other, `counts`[r] elements for rank r; `out`
/// gets this rank's `counts`[rank] elements. `out` may be this rank's block inside `in` (the other
/// blocks of `in` are then left undefined); any other overlap is an Error. Blocking and collective:
/// the same counts, type and operation on every rank.
void reduce_scatter(const Communicator& comm, const void* in, void* out,
                    std::span<const Index> counts, DType type, ReduceOp op,
                    const CollectiveOptions& options = {});

/// The same with `count` elements for every rank.
void reduce_scatter(const Communicator& comm, const void* in, void* out, Index count, DType type,
                    ReduceOp op, const CollectiveOptions& options = {});

}  // namespace shoal
