// Calls whose arguments have been checked, for the blocking and the non-blocking forms alike.
#pragma once

#include <shoal/collectives/options.hpp>
#include <shoal/collectives/registry.hpp>

namespace shoal {

/// From the arguments of the public function of the same name. Throws Error or UsageError, as that
/// says. The Call refers to `comm` and to the counts.
Call all_reduce_call(const Communicator& comm, const void* in, void* out, Index count, DType type,
                     ReduceOp op, const CollectiveOptions& options);
Call reduce_scatter_call(const Communicator& comm, const void* in, void* out,
                         std::span<const Index> counts, DType type, ReduceOp op,
                         const CollectiveOptions& options);
Call all_gather_call(const Communicator& comm, const void* in, void* out,
                     std::span<const Index> counts, DType type, const CollectiveOptions& options);
Call broadcast_call(const Communicator& comm, void* data, Index count, DType type, Rank root,
                    const CollectiveOptions& options);
Call all_to_all_call(const Communicator& comm, const void* in, std::span<const Index> send_counts,
                     void* out, std::span<const Index> receive_counts, DType type,
                     const CollectiveOptions& options);
Call barrier_call(const Communicator& comm, const CollectiveOptions& options);

/// Does it, on one rank, too.
void run_checked(const Call& call, const CollectiveOptions& options);

}  // namespace shoal
