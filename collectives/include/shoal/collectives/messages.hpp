// The messages that an algorithm consists of, for those who want to know what it would do without
// doing it: the simulator of planning/.
#pragma once

#include <vector>

#include <shoal/collectives/registry.hpp>

namespace shoal {

/// So many bytes to or from a member of the group, by its number.
struct MessageTo {
  int peer = 0;
  Bytes bytes = 0;
};

/// What a member sends and receives before it goes on. A round is no barrier.
struct MessageRound {
  std::vector<MessageTo> sends, receives;
  Bytes combined = 0;  ///< of what it receives, bytes that are added to its own
};

/// The rounds of member `me` of `members` in a collective of `bytes` (the longer of input and
/// output) that divides evenly; data travel as wholes, where the runtime cuts them into segments.
/// Throws Error for algorithms that do not consist of messages, or of two levels.
std::vector<MessageRound> messages_of(const Algorithm& algorithm, Bytes bytes, int members, int me,
                                      const Network& network);

}  // namespace shoal
