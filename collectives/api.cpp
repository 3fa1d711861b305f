// The blocking calls: check the arguments, make a Call, run it.
#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/all_to_all.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/collectives/reduce_scatter.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/forked.hpp>

#include "algorithm.hpp"
#include "calls.hpp"
#include "dispatch.hpp"
#include "reduce/reduce.hpp"

namespace shoal {
namespace {

Call call_of(const Communicator& comm, Operation operation, DType type,
             const CollectiveOptions& options) {
  // A group of one rank needs no algorithm; a wrong name is wrong there, too.
  if (!options.algorithm.empty()) find_algorithm(operation, options.algorithm);
  Call call;
  call.comm = &comm;
  call.operation = operation;
  call.type = type;
  call.root = options.meaning.root;
  call.purpose = options.meaning.purpose;
  call.variant = options.meaning.variant;
  return call;
}

void copy_alone(void* to, const void* from, Index count, DType type) {
  if (to != from && count > 0) std::memmove(to, from, static_cast<Bytes>(count) * size_of(type));
}

// The sum of counts; the running sum is checked, so that it cannot overflow.
Index total(const Call& call, std::span<const Index> counts) {
  Index sum = 0;
  for (const Index count : counts) {
    if (count > std::numeric_limits<Index>::max() - sum) sum = std::numeric_limits<Index>::max();
    else sum += count;
    require_count(call, sum, "the sum of the counts");
  }
  return sum;
}

const std::byte* element_at(const void* data, Index index, DType type) {
  return static_cast<const std::byte*>(data) + static_cast<Bytes>(index) * size_of(type);
}

}  // namespace

void run_checked(const Call& call, const CollectiveOptions& options) {
  require_own_process(name_of(call.operation).data());
  if (call.comm->size() > 1) return run_collective(call, options);
  if (call.operation == Operation::all_reduce || call.operation == Operation::reduce_scatter) {
    return reduce_alone(call, options);
  }
  if (call.operation != Operation::barrier) copy_alone(call.out, call.in, call.count, call.type);
}

Call all_reduce_call(const Communicator& comm, const void* in, void* out, Index count, DType type,
                     ReduceOp op, const CollectiveOptions& options) {
  Call call = call_of(comm, Operation::all_reduce, type, options);
  call.in = in;
  call.out = out;
  call.count = count;
  call.op = op;
  require_count(call, count, "the count");
  require_data(call, in, count, "the input");
  require_data(call, out, count, "the output");
  if (in != out) require_apart(call, in, count, out, count);
  return call;
}

void all_reduce(const Communicator& comm, const void* in, void* out, Index count, DType type,
                ReduceOp op, const CollectiveOptions& options) {
  run_checked(all_reduce_call(comm, in, out, count, type, op, options), options);
}

Call reduce_scatter_call(const Communicator& comm, const void* in, void* out,
                         std::span<const Index> counts, DType type, ReduceOp op,
                         const CollectiveOptions& options) {
  Call call = call_of(comm, Operation::reduce_scatter, type, options);
  require_counts(call, counts);
  call.in = in;
  call.out = out;
  call.counts = counts;
  call.count = total(call, counts);
  call.op = op;
  const auto me = static_cast<std::size_t>(comm.rank());
  require_data(call, in, call.count, "the input");
  require_data(call, out, counts[me], "the output");
  if (out != element_at(in, starts_of(counts)[me], type)) {
    require_apart(call, in, call.count, out, counts[me]);
  }
  return call;
}

void reduce_scatter(const Communicator& comm, const void* in, void* out,
                    std::span<const Index> counts, DType type, ReduceOp op,
                    const CollectiveOptions& options) {
  run_checked(reduce_scatter_call(comm, in, out, counts, type, op, options), options);
}

void reduce_scatter(const Communicator& comm, const void* in, void* out, Index count, DType type,
                    ReduceOp op, const CollectiveOptions& options) {
  const std::vector<Index> counts(static_cast<std::size_t>(comm.size()), count);
  reduce_scatter(comm, in, out, counts, type, op, options);
}

Call all_gather_call(const Communicator& comm, const void* in, void* out,
                     std::span<const Index> counts, DType type, const CollectiveOptions& options) {
  Call call = call_of(comm, Operation::all_gather, type, options);
  require_counts(call, counts);
  call.in = in;
  call.out = out;
  call.counts = counts;
  call.count = total(call, counts);
  const auto me = static_cast<std::size_t>(comm.rank());
  require_data(call, in, counts[me], "the input");
  require_data(call, out, call.count, "the output");
  if (in != element_at(out, starts_of(counts)[me], type)) {
    require_apart(call, in, counts[me], out, call.count);
  }
  return call;
}

void all_gather(const Communicator& comm, const void* in, void* out,
                std::span<const Index> counts, DType type, const CollectiveOptions& options) {
  run_checked(all_gather_call(comm, in, out, counts, type, options), options);
}

void all_gather(const Communicator& comm, const void* in, Index count, void* out, DType type,
                const CollectiveOptions& options) {
  const std::vector<Index> counts(static_cast<std::size_t>(comm.size()), count);
  all_gather(comm, in, out, counts, type, options);
}

Call broadcast_call(const Communicator& comm, void* data, Index count, DType type, Rank root,
                    const CollectiveOptions& options) {
  Call call = call_of(comm, Operation::broadcast, type, options);
  call.in = data;
  call.out = data;
  call.count = count;
  call.root = root;
  require_count(call, count, "the count");
  require_data(call, data, count, "the data");
  if (root < 0 || root >= comm.size()) {
    throw Error("broadcast over " + comm.name(), "root " + std::to_string(root) +
                                                     " is not one of the " +
                                                     std::to_string(comm.size()) + " ranks");
  }
  return call;
}

void broadcast(const Communicator& comm, void* data, Index count, DType type, Rank root,
               const CollectiveOptions& options) {
  run_checked(broadcast_call(comm, data, count, type, root, options), options);
}

std::string broadcast_text(const Communicator& comm, std::string text, Rank root) {
  auto length = static_cast<std::int64_t>(text.size());
  broadcast(comm, &length, 1, DType::i64, root);
  text.resize(static_cast<std::size_t>(length));
  broadcast(comm, text.data(), length, DType::i8, root);
  return text;
}

Call all_to_all_call(const Communicator& comm, const void* in, std::span<const Index> send_counts,
                     void* out, std::span<const Index> receive_counts, DType type,
                     const CollectiveOptions& options) {
  Call call = call_of(comm, Operation::all_to_all, type, options);
  require_counts(call, send_counts);
  require_counts(call, receive_counts);
  call.in = in;
  call.out = out;
  call.counts = send_counts;
  call.receive_counts = receive_counts;
  const Index sent = total(call, send_counts);
  const Index received = total(call, receive_counts);
  const auto me = static_cast<std::size_t>(comm.rank());
  if (send_counts[me] != receive_counts[me]) {
    throw Error("all_to_all over " + comm.name(),
                "this rank sends itself " + std::to_string(send_counts[me]) +
                    " elements, but expects " + std::to_string(receive_counts[me]));
  }
  call.count = std::max(sent, received);
  require_data(call, in, sent, "the input");
  require_data(call, out, received, "the output");
  require_apart(call, in, sent, out, received);
  return call;
}

void all_to_all(const Communicator& comm, const void* in, std::span<const Index> send_counts,
                void* out, std::span<const Index> receive_counts, DType type,
                const CollectiveOptions& options) {
  run_checked(all_to_all_call(comm, in, send_counts, out, receive_counts, type, options), options);
}

void all_to_all(const Communicator& comm, const void* in, void* out, Index count, DType type,
                const CollectiveOptions& options) {
  Call call = call_of(comm, Operation::all_to_all, type, options);
  require_count(call, count, "the count");
  const std::vector<Index> counts(static_cast<std::size_t>(comm.size()), count);
  call.in = in;
  call.out = out;
  call.counts = counts;
  call.count = total(call, counts);
  require_data(call, in, call.count, "the input");
  require_data(call, out, call.count, "the output");
  require_apart(call, in, call.count, out, call.count);
  run_checked(call, options);
}

Call barrier_call(const Communicator& comm, const CollectiveOptions& options) {
  return call_of(comm, Operation::barrier, DType::i8, options);
}

void barrier(const Communicator& comm, const CollectiveOptions& options) {
  run_checked(barrier_call(comm, options), options);
}

}  // namespace shoal
