// Carries out a plan: blocks travel in segments, several under way for each peer, and each segment is
// combined while the next ones are on the wire.
//
// Between nodes messages take the communicator's own connections (tcp/connections.hpp); within a node,
// and where there are none, MPI. For MPI a segment must be small enough for MPI's eager protocol over TCP
// (64 KiB): no rendezvous, whose answer would wait until the peer looks. Measured by MPI with 16 MiB over
// four hosts at 1 Gbit/s: in blocks of 4 MiB 0.82 of the wire, in segments of 128 KiB 0.80, of 63 KiB
// 0.93.
#pragma once

#include <functional>
#include <span>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/reduce_op.hpp>

#include "plan/plan.hpp"

namespace shoal {

/// Whose data a plan moves.
struct Exchange {
  const Communicator* comm = nullptr;
  std::span<const Rank> members;  ///< by number in the plan: rank in `comm`
  const char* operation = "";     ///< for messages of errors
  const void* in = nullptr;       ///< this member's data; may be `out`
  void* out = nullptr;            ///< where all blocks end up, one after the other
  DType type = DType::i8;
  ReduceOp op = ReduceOp::sum;
  /// An average divides by it where a member combines a segment that nothing replaces later: right
  /// for plans after which every member has all blocks. For others sum, and divide what is final.
  int ranks = 1;
  /// Called with a range of elements before it is first used: puts this member's data into `out`,
  /// where it does not lie in `in`. May be empty.
  std::function<void(Index begin, Index count)> gather;
  /// Called with a range of elements once it has its final value. May be empty.
  std::function<void(Index begin, Index count)> deliver;
};

/// Blocking; all members call it with plans that fit together. Throws Error at the deadline, and if a
/// message has another length than expected. Cannot deadlock: of all sends and receives that are not
/// done, over all members, the first in order of (round, segment) waits for none of the others.
void run_plan(const Plan& plan, const Exchange& exchange);

}  // namespace shoal
