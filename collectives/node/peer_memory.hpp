// Private memory of the other ranks of a node, which the kernel reads for this one (process_vm_readv(2)).
//
// Through stages the ranks of a node meet at every chunk. Where they wait beside computation on the same
// cores, each meeting is a change of threads on either side, and takes a turn from what computes. Who reads the
// others' buffers meets them twice, however long these are; a page of another process costs the kernel
// some 0.2 µs, though, so that where ranks only wait for each other stages are quicker.
#pragma once

#include <cstdint>
#include <vector>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/node_memory.hpp>

#include "node/control.hpp"

namespace shoal {

/// The other processes of a communicator whose ranks share a node.
class PeerMemory {
 public:
  explicit PeerMemory(const Communicator& comm) : comm_(comm.name()), me_(comm.rank()) {}

  /// Whether every rank may read every other's memory: a container, or a kernel that lets nobody trace, may
  /// forbid it. The same on all ranks. Collective the first time.
  bool readable(NodeControl& control);
  /// Whether they have asked that, ever.
  bool asked() const noexcept { return answer_ != Answer::unknown; }

  /// Copies what `rank` announced to lie at `place`, from `offset` on. Throws Error if that process has ended.
  void read(NodeControl& control, Rank rank, const node_memory::Location& place, Bytes offset, void* to,
            Bytes bytes) const;

 private:
  enum class Answer : std::uint8_t { unknown, yes, no };

  const std::string comm_;
  const Rank me_;
  std::vector<std::int64_t> processes_;  // by rank
  Answer answer_ = Answer::unknown;
};

/// An all-reduce whose buffers are where they were announced. Each rank reduces its segment from what it
/// reads, a block at a time that stays in the second-level cache, and then reads the others' results.
///
/// Cost, p ranks, n bytes: 2·n·(p−1)/p read by the kernel, n/p reduced from p inputs; 2 meetings.
/// DRAM sees inputs and outputs once, where these fit the caches of those who read them.
void reading_all_reduce(const Call& call, NodeControl& control);

}  // namespace shoal
