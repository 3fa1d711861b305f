#include <shoal/collectives/nonblocking.hpp>

#include <utility>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/forked.hpp>

#include "calls.hpp"
#include "progress/queue.hpp"

namespace shoal {
namespace {

std::vector<Index> copy_of(std::span<const Index> counts) { return {counts.begin(), counts.end()}; }

// What is to run on the queue's communicator: the call, with counts of its own.
auto body_of(const Call& call, const CollectiveOptions& options) {
  return [call, counts = copy_of(call.counts), receive_counts = copy_of(call.receive_counts),
          options](const Communicator& comm) {
    Call mine = call;
    mine.comm = &comm;
    mine.counts = counts;
    mine.receive_counts = receive_counts;
    run_checked(mine, options);
  };
}

Work start(const Communicator& comm, const Call& call, const CollectiveOptions& options) {
  if (comm.size() == 1) {
    run_checked(call, options);
    return {};
  }
  require_own_process(name_of(call.operation).data());
  auto state = std::make_shared<Work::State>();
  state->body = body_of(call, options);
  comm.extension<WorkQueue>().push(state);
  return Work(std::move(state));
}

}  // namespace

Work start_all_reduce(const Communicator& comm, const void* in, void* out, Index count, DType type,
                      ReduceOp op, const CollectiveOptions& options) {
  return start(comm, all_reduce_call(comm, in, out, count, type, op, options), options);
}

Work start_reduce_scatter(const Communicator& comm, const void* in, void* out,
                          std::span<const Index> counts, DType type, ReduceOp op,
                          const CollectiveOptions& options) {
  return start(comm, reduce_scatter_call(comm, in, out, counts, type, op, options), options);
}

Work start_all_gather(const Communicator& comm, const void* in, void* out,
                      std::span<const Index> counts, DType type,
                      const CollectiveOptions& options) {
  return start(comm, all_gather_call(comm, in, out, counts, type, options), options);
}

Work start_broadcast(const Communicator& comm, void* data, Index count, DType type, Rank root,
                     const CollectiveOptions& options) {
  return start(comm, broadcast_call(comm, data, count, type, root, options), options);
}

Work start_all_to_all(const Communicator& comm, const void* in, std::span<const Index> send_counts,
                      void* out, std::span<const Index> receive_counts, DType type,
                      const CollectiveOptions& options) {
  return start(comm, all_to_all_call(comm, in, send_counts, out, receive_counts, type, options),
               options);
}

Work start_barrier(const Communicator& comm, const CollectiveOptions& options) {
  return start(comm, barrier_call(comm, options), options);
}

AllReducePlan::AllReducePlan(const Communicator& comm, const void* in, void* out, Index count,
                             DType type, ReduceOp op, const CollectiveOptions& options)
    : comm_(&comm), state_(std::make_shared<Work::State>()) {
  state_->body = body_of(all_reduce_call(comm, in, out, count, type, op, options), options);
}

Work AllReducePlan::start() {
  if (!state_->done.load(std::memory_order_acquire)) {
    throw Error("all_reduce over " + comm_->name(), "the last one of this plan is not done",
                "wait for its Work first");
  }
  if (comm_->size() == 1) {
    state_->body(*comm_);
    return {};
  }
  comm_->extension<WorkQueue>().push(state_);
  return Work(state_);
}

}  // namespace shoal
