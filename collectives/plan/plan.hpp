// What one member of a group does in a collective, as data: which blocks it sends to whom and
// receives from whom, round by round. pipeline.hpp carries it out.
#pragma once

#include <vector>

#include <shoal/runtime/units.hpp>

namespace shoal {

/// Consecutive blocks that travel between this member and another.
struct Leg {
  int peer = 0;   ///< number of the other member
  int first = 0;  ///< first block
  int blocks = 1;
};

/// Sends carry what a member has after the rounds before; receives change it. A round is no barrier:
/// a piece of a block goes on as soon as it may.
struct Round {
  std::vector<Leg> sends;
  std::vector<Leg> receives;
  /// Received blocks are combined with this member's; otherwise they replace it. The receives of a
  /// round that combines all name the same blocks, and come in the order in which they are combined.
  bool combines = false;
  /// How many of them come before this member's own data in that order.
  int before = 0;
};

/// What a member sends to another in one round, the other receives from it in one round, and in the
/// same order of rounds; within a round in order of blocks.
struct Plan {
  std::vector<Index> counts;  ///< elements of each block
  /// Largest segment that blocks are cut into; 0: by the longest block, which must then be the same in
  /// the plans of all members. What is passed on wants short ones; what is not, the longest there are.
  Bytes segment_bytes = 0;
  /// Blocks go around rings, so that every member has something to pass on all the time: without
  /// segment_bytes they are cut into longer segments than what only some pass on. The same for all.
  bool around = false;
  std::vector<Round> rounds;
};

}  // namespace shoal
