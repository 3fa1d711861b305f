// A communicator as nodes: who shares one, and what its ranks need for a collective in two levels.
#pragma once

#include <string>
#include <vector>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/communicator.hpp>

#include "node/control.hpp"

namespace shoal {

/// Nodes may have any number of ranks each. Between the nodes data travels in lanes: lane i joins the
/// i-th rank of every node, so there are as many as the node with the fewest ranks has.
class NodeGroups {
 public:
  /// Longer messages are cut into parts of this size, so that a stage never has to be larger. A part
  /// must be alike on all nodes, whatever buffers their ranks have.
  static constexpr Bytes part_bytes = Bytes{32} << 20;
  /// A lane with less than this would cost more in messages than it saves.
  static constexpr Bytes least_lane_bytes = Bytes{32} << 10;

  /// Collective.
  explicit NodeGroups(const Communicator& comm);

  /// Empty if all nodes can do their part in shared memory; otherwise why not. The same on all ranks.
  const std::string& why_not() const noexcept { return why_not_; }

  int nodes() const noexcept { return static_cast<int>(members_.size()); }
  /// As many as the smallest node has ranks.
  int lane_count() const noexcept { return lanes_; }
  /// Of these, for a part of so many bytes; the same on all ranks.
  int lanes(Bytes bytes) const noexcept;
  /// This rank's node, and its number among the ranks there.
  int node() const noexcept { return node_; }
  int place() const noexcept { return local_.rank(); }
  /// The ranks of this node, in order of rank.
  const Communicator& local() const noexcept { return local_; }
  /// The ranks of a node, in the whole communicator, ascending.
  const std::vector<Rank>& ranks_of(int node) const {
    return members_[static_cast<std::size_t>(node)];
  }
  /// Number among the ranks of this node of one of them.
  int place_of(Rank rank) const;
  /// By node: the rank, in the whole communicator, of the lane's member there.
  std::vector<Rank> lane(int number) const;

  /// Node-shared memory of this rank for a part of a message that lies in private memory, kept from
  /// call to call; null if there is none left.
  std::byte* stage(Bytes bytes);
  /// Private memory for what a lane has in hand, kept likewise.
  std::byte* work(Bytes bytes);

 private:
  std::vector<std::vector<Rank>> members_;  // by node
  int node_ = 0;
  int lanes_ = 0;
  Communicator local_;
  Storage stage_, work_;
  std::string why_not_;
};

/// Empty if a collective in two levels makes sense here and can be done; otherwise why not. Collective
/// the first time on a communicator over several nodes.
std::string why_no_hierarchy(const Communicator& comm);

}  // namespace shoal
