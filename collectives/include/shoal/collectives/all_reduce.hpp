// All-reduce: every rank gets the element-wise reduction of all ranks' data.
#pragma once

#include <span>

#include <shoal/collectives/options.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/reduce_op.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// `out`[i] = the reduction over all ranks of `in`[i], for i < `count`. The result is the same on
/// every rank, bit for bit. in == out reduces in place; any other overlap is an Error. Blocking
/// and collective: every rank passes the same count, type and operation. bf16 and f16 are summed in
/// single precision on one node; between nodes partial sums travel in 16 bits.
void all_reduce(const Communicator& comm, const void* in, void* out, Index count, DType type,
                ReduceOp op, const CollectiveOptions& options = {});

/// In place.
template <class T>
void all_reduce(const Communicator& comm, std::span<T> data, ReduceOp op,
                const CollectiveOptions& options = {}) {
  all_reduce(comm, data.data(), data.data(), static_cast<Index>(data.size()), dtype_of<T>, op,
             options);
}

}  // namespace shoal
