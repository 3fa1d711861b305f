// One lane of a reduction between nodes that adds the inputs of all ranks at once, in the order of ranks.
#pragma once

#include <cstddef>
#include <vector>

#include <shoal/collectives/registry.hpp>

#include "node/groups.hpp"

namespace shoal {

/// A range of every rank's input whose sum one node makes.
struct GatheredPiece {
  Index begin = 0;                  ///< in the inputs, in elements
  Index size = 0;
  std::vector<std::byte*> outputs;  ///< where the sum goes; on the node that makes it, otherwise empty
};

/// The lane sends every other node the pieces that are added there, of the inputs of all ranks of this node, and adds
/// what comes from the others. All goes in chunks: so that the rank that adds has a chunk of all inputs while the next
/// ones are on the wire. Link: (N−1)/N·k·n bytes each way for N nodes of k ranks and n bytes of pieces in all; the
/// memory in hand is as much for what goes and what comes.
class GatheringLane {
 public:
  /// `inputs`: those of this node's ranks, in order of rank. `pieces`: by node, with the same begin and size on all
  /// members of the lane. `call` says type, operation and communicator; it and `groups` must outlive this.
  GatheringLane(const Call& call, NodeGroups& groups, std::vector<const std::byte*> inputs,
                std::vector<std::vector<GatheredPiece>> pieces);

  /// Returns once this node's pieces are in their outputs. Throws Error at the deadline.
  void run();

 private:
  Index ranks_on(int node) const { return static_cast<Index>(groups_.ranks_of(node).size()); }
  void pack(Index begin, Index count);
  void add_what_is_there();
  void add_chunk(Index length);

  // Calls use(piece, first, size, at) for each part of [begin, begin + count) of a node's pieces, one after the other:
  // `first` is where it begins in the inputs, `at` in the range.
  template <class Use>
  void each_part(int node, Index begin, Index count, Use&& use) const;

  const Call& call_;
  NodeGroups& groups_;
  const Bytes element_;
  const Index chunk_;
  const std::vector<const std::byte*> inputs_;
  const std::vector<std::vector<GatheredPiece>> pieces_;
  std::vector<Index> sizes_;                // by node: of its pieces together
  std::vector<Index> sent_at_, landed_at_;  // by node, in the lane's memory
  std::vector<Index> arrived_;              // by node
  Index added_ = 0;                         // of this node's pieces
  std::byte* work_ = nullptr;
};

/// So much of a part that it, and what all lanes of a node have in hand of it, stay within NodeGroups::part_bytes.
Bytes gathered_part_bytes(const NodeGroups& groups, int ranks);

}  // namespace shoal
