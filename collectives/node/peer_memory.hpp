// Private memory of the other ranks of a node, which the kernel reads for this one (process_vm_readv(2)).
#pragma once

#include <cstdint>
#include <vector>

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
  /// Whether the answer was no.
  bool refused() const noexcept { return answer_ == Answer::no; }

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

}  // namespace shoal
