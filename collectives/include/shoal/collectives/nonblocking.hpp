// Collectives that go on while the program computes.
//
//     Work sum = start_all_reduce(dp, gradients, ReduceOp::sum);
//     backward_of_the_layer_below();
//     sum.wait();
//
// A thread of each communicator does them, in the order in which they were started, which must be
// the same on all ranks. It works on a communicator of its own, so that blocking collectives may run
// at the same time. The first non-blocking call on a communicator makes it, and is collective.
//
// The thread needs MPI_THREAD_MULTIPLE, for which a Runtime asks unless told otherwise. Without it
// the work is done by whoever waits: works on different communicators must then be waited for in the
// same order on all ranks.
#pragma once

#include <memory>
#include <span>

#include <shoal/collectives/options.hpp>
#include <shoal/collectives/work.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/reduce_op.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// As the blocking call of the same name (all_reduce.hpp, ...), whose conditions hold. Arguments that
/// make no sense throw Error at once, a failure on the way when the Work is waited for. After a failure
/// all later ones on this communicator fail. Counts are copied.
Work start_all_reduce(const Communicator& comm, const void* in, void* out, Index count, DType type,
                      ReduceOp op, const CollectiveOptions& options = {});
template <class T>
Work start_all_reduce(const Communicator& comm, std::span<T> data, ReduceOp op,
                      const CollectiveOptions& options = {}) {
  return start_all_reduce(comm, data.data(), data.data(), static_cast<Index>(data.size()),
                          dtype_of<T>, op, options);
}
Work start_reduce_scatter(const Communicator& comm, const void* in, void* out,
                          std::span<const Index> counts, DType type, ReduceOp op,
                          const CollectiveOptions& options = {});
Work start_all_gather(const Communicator& comm, const void* in, void* out,
                      std::span<const Index> counts, DType type,
                      const CollectiveOptions& options = {});
Work start_broadcast(const Communicator& comm, void* data, Index count, DType type, Rank root,
                     const CollectiveOptions& options = {});
Work start_all_to_all(const Communicator& comm, const void* in, std::span<const Index> send_counts,
                      void* out, std::span<const Index> receive_counts, DType type,
                      const CollectiveOptions& options = {});
Work start_barrier(const Communicator& comm, const CollectiveOptions& options = {});

/// An all-reduce to be done again and again on the same buffers: arguments are checked, and memory for
/// its Work allocated, once.
class AllReducePlan {
 public:
  /// As start_all_reduce. `comm` must outlive the plan.
  AllReducePlan(const Communicator& comm, const void* in, void* out, Index count, DType type,
                ReduceOp op, const CollectiveOptions& options = {});
  /// Throws Error while the last one is not done.
  Work start();

 private:
  const Communicator* comm_;
  std::shared_ptr<Work::State> state_;
};

}  // namespace shoal
