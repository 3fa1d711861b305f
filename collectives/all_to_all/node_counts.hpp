// What the ranks of a node send in an all-to-all, and what they expect.
#pragma once

#include <vector>

#include "algorithm.hpp"
#include "node/groups.hpp"

namespace shoal {

/// In bytes, and where in a rank's buffers. The ranks of the node are named by their place among them,
/// the others by their rank.
class NodeCounts {
 public:
  /// Collective over the ranks of the node where the counts differ (Call::receive_counts). Throws Error,
  /// on all of them alike, if two of them do not agree.
  NodeCounts(const Call& call, const NodeGroups& groups);

  /// Whether every rank sends as much to every other: then all know all.
  bool even() const noexcept { return even_; }
  /// The longest block that a rank of this node sends or expects.
  Bytes longest() const noexcept { return longest_; }
  Bytes sent(int place, Rank to) const { return at(place).sent[index(to)]; }
  Bytes expected(int place, Rank from) const { return at(place).expected[index(from)]; }
  /// Where the block begins in that rank's input, and in its output.
  Bytes in_start(int place, Rank to) const { return at(place).in_starts[index(to)]; }
  Bytes out_start(int place, Rank from) const { return at(place).out_starts[index(from)]; }

 private:
  struct Place {
    std::vector<Bytes> sent, expected, in_starts, out_starts;  // by rank
  };
  static std::size_t index(Rank rank) { return static_cast<std::size_t>(rank); }
  const Place& at(int place) const { return places_[static_cast<std::size_t>(even_ ? 0 : place)]; }
  void add(std::span<const Index> sends, std::span<const Index> receives, Bytes element);
  void require_agreement(const Call& call, const NodeGroups& groups) const;

  bool even_;
  Bytes longest_ = 0;
  std::vector<Place> places_;  // one for all where they are even
};

}  // namespace shoal
