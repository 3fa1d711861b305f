// MPI's functions: what each call is in Shoal's terms, and which of its facts all ranks share.
#include <dlfcn.h>

#include <cstring>
#include <exception>
#include <optional>
#include <span>

#include "algorithm.hpp"
#include "node/node_collectives.hpp"
#include "node/pieces.hpp"
#include "preload/groups.hpp"
#include "preload/lend.hpp"
#include "preload/over_nodes.hpp"
#include "preload/preload.hpp"
#include "preload/report.hpp"
#include "preload/requests.hpp"
#include "preload/types.hpp"

namespace shoal::preload {
namespace {

using NodeCollective = bool (*)(const Call&, NodePath);

// Whether to look at a call on `comm` at all. Before everything else: without a set-up there are no
// tables of types.
bool is_open(MPI_Comm comm) { return active() && !Inside::now() && comm != MPI_COMM_NULL; }

// The ranks of the call if it may be Shoal's; null if it is MPI's.
Group* ranks_of(MPI_Comm comm) {
  const Inside inside;
  return group_of(comm);
}

// Where Shoal meets twice and MPI exchanges short messages, MPI is faster (measured over 2 ranks:
// 0.5 µs against 0.75 up to 512 bytes, 1.05 against 0.8 from 1 KiB on).
constexpr Bytes least_to_stage = 1 << 10;

// Does the call; nothing if a rank declines, this one unless it `can`. The code is what MPI returns.
std::optional<int> take_over(MPI_Comm comm, const Call& call, bool can, NodeCollective collective,
                             Tally& tally, NodePath path = NodePath::any) {
  try {
    if (can && path == NodePath::any) lend_what_recurs(call);
    if (!collective(call, can ? path : NodePath::declined)) return std::nullopt;
    tally.taken();
    return MPI_SUCCESS;
  } catch (const NoStage&) {
    return std::nullopt;  // on all ranks alike
  } catch (const std::exception& error) {
    fail(comm, error.what());
    return MPI_ERR_OTHER;
  }
}

Call call_of(Group& group, Operation operation) {
  Call call;
  call.comm = &group.comm;
  call.operation = operation;
  return call;
}

// A call that moves `bytes` for each rank.
Call movement_of(Group& group, Operation operation, Bytes bytes) {
  Call call = call_of(group, operation);
  for (Index& count : group.counts) count = static_cast<Index>(bytes);
  call.counts = group.counts;
  call.count = static_cast<Index>(bytes) * group.comm.size();
  return call;
}

// Open MPI refuses one buffer for both of several elements, unless it was told to check no arguments: it may
// do so before other ranks are there, so that this is nothing to agree on with them.
bool refuses_one_buffer(const void* in, const void* out, int count) {
  if (in != out || out == MPI_BOTTOM || count == 1) return false;
  static const auto* const checks =
      static_cast<const bool*>(dlsym(RTLD_DEFAULT, "ompi_mpi_param_check"));
  return checks == nullptr || *checks;
}

Call all_reduce_of(Group& group, const void* in, void* out, int count,
                   const Reduction& reduction) {
  Call call = call_of(group, Operation::all_reduce);
  call.in = in == MPI_IN_PLACE ? out : in;
  call.out = out;
  call.count = static_cast<Index>(count) * reduction.parts;
  call.type = reduction.type;
  call.op = reduction.op;
  return call;
}

std::optional<int> all_reduce(const void* in, void* out, int count, MPI_Datatype type, MPI_Op op,
                              MPI_Comm comm) {
  Tally tally(Function::all_reduce);
  if (!is_open(comm) || count <= 0 || out == MPI_IN_PLACE || refuses_one_buffer(in, out, count)) {
    return std::nullopt;
  }
  const auto reduction = reduction_of(type, op);
  if (!reduction) return std::nullopt;
  Group* const group = ranks_of(comm);
  if (group == nullptr) return std::nullopt;
  const Call call = all_reduce_of(*group, in, out, count, *reduction);
  if (group->between) return take_over_between(comm, *group, call, tally);
  return take_over(comm, call, true, node_all_reduce, tally);
}

std::optional<int> iall_reduce(const void* in, void* out, int count, MPI_Datatype type, MPI_Op op,
                               MPI_Comm comm, MPI_Request* request) {
  Tally tally(Function::iall_reduce);
  if (!is_open(comm) || !requests_go_on() || count <= 0 || out == MPI_IN_PLACE ||
      request == nullptr || refuses_one_buffer(in, out, count)) {
    return std::nullopt;
  }
  const auto reduction = reduction_of(type, op);
  if (!reduction) return std::nullopt;
  const Inside inside;
  Group* const group = group_for_request(comm);  // to make one takes waiting
  if (group == nullptr) return std::nullopt;
  const auto code =
      begin_all_reduce(*group, comm, all_reduce_of(*group, in, out, count, *reduction), request);
  if (code) tally.taken();
  return code;
}

// `counts` has `stride` 1, or 0 if one count is every rank's.
std::optional<int> reduce_scatter(Function function, const void* in, void* out, const int* counts,
                                  std::size_t stride, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  Tally tally(function);
  if (!is_open(comm) || counts == nullptr || out == MPI_IN_PLACE) return std::nullopt;
  const auto reduction = reduction_of(type, op);
  if (!reduction) return std::nullopt;
  Group* const group = ranks_of(comm);
  if (group == nullptr) return std::nullopt;
  Index total = 0;
  for (std::size_t i = 0; i < group->counts.size(); ++i) {
    if (counts[i * stride] < 0) return std::nullopt;
    group->counts[i] = static_cast<Index>(counts[i * stride]) * reduction->parts;
    total += group->counts[i];
  }
  const Bytes bytes = static_cast<Bytes>(total) * size_of(reduction->type);
  if (!group->between && bytes < least_to_stage) return std::nullopt;
  Call call = call_of(*group, Operation::reduce_scatter);
  call.counts = group->counts;
  call.count = total;
  call.type = reduction->type;
  call.op = reduction->op;
  call.in = in;
  call.out = out;
  // In place Shoal leaves the result where the rank's block was, MPI at the start.
  const auto me = static_cast<std::size_t>(group->comm.rank());
  const bool in_place = in == MPI_IN_PLACE;
  if (in_place) {
    call.in = out;
    call.out = bytes_at(out, static_cast<Bytes>(starts_of(call.counts)[me]) * size_of(call.type));
  }
  const std::optional<int> code = group->between
                                      ? take_over_between(comm, *group, call, tally)
                                      : take_over(comm, call, true, node_reduce_scatter, tally);
  if (code == MPI_SUCCESS && in_place && call.counts[me] > 0) {
    std::memmove(out, call.out, static_cast<Bytes>(call.counts[me]) * size_of(call.type));
  }
  return code;
}

std::optional<int> all_gather(const void* in, int in_count, MPI_Datatype in_type, void* out,
                              int out_count, MPI_Datatype out_type, MPI_Comm comm) {
  Tally tally(Function::all_gather);
  if (!is_open(comm)) return std::nullopt;
  const auto bytes = bytes_of(out_count, out_type);
  if (!bytes || *bytes == 0) return std::nullopt;
  Group* const group = ranks_of(comm);
  if (group == nullptr) return std::nullopt;
  Call call = movement_of(*group, Operation::all_gather, *bytes);
  if (group->between) {
    return movement_between(comm, *group, call, *bytes, {in, in_count, in_type},
                            {out, out_count, out_type}, tally);
  }
  const bool in_place = in == MPI_IN_PLACE;
  call.in = in_place ? bytes_at(out, *bytes * static_cast<Bytes>(group->comm.rank())) : in;
  call.out = out;
  const bool can = out != MPI_IN_PLACE && is_plain(out_type) &&
                   (in_place || (is_plain(in_type) && bytes_of(in_count, in_type) == bytes));
  return take_over(comm, call, can, node_all_gather, tally);
}

std::optional<int> broadcast(void* data, int count, MPI_Datatype type, int root, MPI_Comm comm) {
  Tally tally(Function::broadcast);
  if (!is_open(comm)) return std::nullopt;
  const auto bytes = bytes_of(count, type);
  if (!bytes || *bytes == 0) return std::nullopt;
  Group* const group = ranks_of(comm);
  if (group == nullptr || root < 0 || root >= group->comm.size()) return std::nullopt;
  Call call = call_of(*group, Operation::broadcast);
  call.in = data;
  call.out = data;
  call.count = static_cast<Index>(*bytes);
  call.root = root;
  if (group->between) return broadcast_between(comm, *group, call, {data, count, type}, tally);
  return take_over(comm, call, is_plain(type), node_broadcast, tally);
}

std::optional<int> all_to_all(const void* in, int in_count, MPI_Datatype in_type, void* out,
                              int out_count, MPI_Datatype out_type, MPI_Comm comm) {
  Tally tally(Function::all_to_all);
  if (!is_open(comm)) return std::nullopt;
  const auto bytes = bytes_of(out_count, out_type);
  if (!bytes || *bytes == 0) return std::nullopt;
  Group* const group = ranks_of(comm);
  if (group == nullptr) return std::nullopt;
  Call call = movement_of(*group, Operation::all_to_all, *bytes);
  if (group->between) {
    return movement_between(comm, *group, call, *bytes, {in, in_count, in_type},
                            {out, out_count, out_type}, tally);
  }
  if (call.bytes() < least_to_stage) return std::nullopt;
  // In place on all ranks or on none.
  const bool in_place = in == MPI_IN_PLACE;
  call.variant = in_place ? 1 : 0;
  call.in = in_place ? out : in;
  call.out = out;
  const bool can = out != MPI_IN_PLACE && is_plain(out_type) &&
                   (in_place || (is_plain(in_type) && bytes_of(in_count, in_type) == bytes));
  return take_over(comm, call, can, node_all_to_all, tally,
                   in_place ? NodePath::staged : NodePath::any);
}

std::optional<int> barrier(MPI_Comm comm) {
  Tally tally(Function::barrier);
  if (!is_open(comm)) return std::nullopt;
  Group* const group = ranks_of(comm);
  if (group == nullptr) return std::nullopt;
  const Call call = call_of(*group, Operation::barrier);
  if (group->between) return take_over_between(comm, *group, call, tally);
  return take_over(comm, call, true, node_barrier, tally);
}

}  // namespace
}  // namespace shoal::preload

extern "C" {

namespace preload = shoal::preload;

SHOAL_EXPORT int MPI_Allreduce(const void* in, void* out, int count, MPI_Datatype type, MPI_Op op,
                               MPI_Comm comm) {
  const auto code = preload::all_reduce(in, out, count, type, op, comm);
  return code ? *code : PMPI_Allreduce(in, out, count, type, op, comm);
}

SHOAL_EXPORT int MPI_Reduce_scatter(const void* in, void* out, const int counts[],
                                    MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  const auto code = preload::reduce_scatter(preload::Function::reduce_scatter, in, out, counts, 1,
                                            type, op, comm);
  return code ? *code : PMPI_Reduce_scatter(in, out, counts, type, op, comm);
}

SHOAL_EXPORT int MPI_Reduce_scatter_block(const void* in, void* out, int count, MPI_Datatype type,
                                          MPI_Op op, MPI_Comm comm) {
  const auto code = preload::reduce_scatter(preload::Function::reduce_scatter_block, in, out,
                                            &count, 0, type, op, comm);
  return code ? *code : PMPI_Reduce_scatter_block(in, out, count, type, op, comm);
}

SHOAL_EXPORT int MPI_Allgather(const void* in, int in_count, MPI_Datatype in_type, void* out,
                               int out_count, MPI_Datatype out_type, MPI_Comm comm) {
  const auto code = preload::all_gather(in, in_count, in_type, out, out_count, out_type, comm);
  return code ? *code : PMPI_Allgather(in, in_count, in_type, out, out_count, out_type, comm);
}

SHOAL_EXPORT int MPI_Bcast(void* data, int count, MPI_Datatype type, int root, MPI_Comm comm) {
  const auto code = preload::broadcast(data, count, type, root, comm);
  return code ? *code : PMPI_Bcast(data, count, type, root, comm);
}

SHOAL_EXPORT int MPI_Alltoall(const void* in, int in_count, MPI_Datatype in_type, void* out,
                              int out_count, MPI_Datatype out_type, MPI_Comm comm) {
  const auto code = preload::all_to_all(in, in_count, in_type, out, out_count, out_type, comm);
  return code ? *code : PMPI_Alltoall(in, in_count, in_type, out, out_count, out_type, comm);
}

SHOAL_EXPORT int MPI_Barrier(MPI_Comm comm) {
  const auto code = preload::barrier(comm);
  return code ? *code : PMPI_Barrier(comm);
}

SHOAL_EXPORT int MPI_Iallreduce(const void* in, void* out, int count, MPI_Datatype type, MPI_Op op,
                                MPI_Comm comm, MPI_Request* request) {
  const auto code = preload::iall_reduce(in, out, count, type, op, comm, request);
  return code ? *code : PMPI_Iallreduce(in, out, count, type, op, comm, request);
}

}  // extern "C"
