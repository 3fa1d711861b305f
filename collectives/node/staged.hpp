// Collectives of the ranks of a node on private buffers: data passes, chunk by chunk, through
// staging areas that all of them see.
//
// A rank's stage has two halves, which take the chunks in turn (NodeControl::stage_of). While the
// others work on a chunk in one half, this rank already fills the other, so that there is one
// meeting a chunk. A half is a fraction of the second-level cache: what passes through it never
// reaches DRAM.
#pragma once

#include <array>
#include <vector>

#include "node/node_collectives.hpp"

namespace shoal {

/// An all-reduce. Of each chunk every rank reduces one segment: its own part straight from its
/// input, the others' from their stages. The result goes into its output and into that slot of its
/// stage which holds no input, since nobody but itself reduces it; from there the others fetch it.
///
/// Cost, p ranks, n bytes, chunks of c bytes: n·(p−1)/p copied in, n/p reduced from p inputs,
/// n·(p−1)/p copied out; n/c + 1 meetings. DRAM sees the input once and the output once.
class StagedAllReduce {
 public:
  StagedAllReduce(const Call& call, NodeControl& control);
  /// Puts the first chunk into this rank's stage. Allowed before the others have announced the call
  /// once there are stages.
  void begin() { copy_in(0); }
  /// The rest, once all ranks have begun and met.
  void finish();
  /// The same in steps, for who cannot wait: at most a chunk of what can be done now; true once that
  /// was all.
  bool advance();

 private:
  Index length(Index chunk) const;
  Bytes offset(Index chunk) const;
  std::byte* slot(Rank stage, Index chunk, Rank segment);
  void copy_in(Index chunk);
  void reduce(Index chunk);
  void copy_out(Index chunk);
  void work_on(Index chunk);

  const Call& call_;
  NodeControl& control_;
  const int ranks_;
  const Rank me_;
  const Bytes element_;
  const Index per_chunk_;
  const Index chunks_;
  const bool stream_;
  const bool straight_;  // results go into the stage and the output at once
  const Index per_block_;
  Index arrived_ = 0;  // at the ends of so many chunks
  std::vector<const void*>& inputs_;
  // A vector store into a line that another core read last waits for that core, unless the line was asked
  // for ahead; a long memcpy does not (measured on Zen 5: 3.6 against 20 GB/s). That is so for every
  // line of the stage, and for those of the output where it was sent from before. So where lines
  // are not asked for (claims_lines()) or go past the caches, results are made a block at a time, in the
  // first-level cache, and copied.
  static constexpr Bytes block_bytes = 8 << 10;
  alignas(64) std::array<std::byte, block_bytes> block_;
};

/// The others begin once all ranks have announced the call.
void staged_reduce_scatter(const Call& call, NodeControl& control);
void staged_all_gather(const Call& call, NodeControl& control);
void staged_broadcast(const Call& call, NodeControl& control);

}  // namespace shoal
