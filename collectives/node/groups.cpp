#include "node/groups.hpp"

#include <algorithm>
#include <bit>

#include <shoal/runtime/error.hpp>

#include "node/node_collectives.hpp"

namespace shoal {

namespace {

std::vector<std::vector<Rank>> ranks_by_node(const Communicator& comm) {
  std::vector<std::vector<Rank>> members(static_cast<std::size_t>(comm.node_count()));
  for (Rank rank = 0; rank < comm.size(); ++rank) {
    members[static_cast<std::size_t>(comm.node_of(rank))].push_back(rank);
  }
  return members;
}

}  // namespace

// The ranks of a node have no communicator of MPI's: all they do together they do in memory, and to
// make one takes a round of messages and one of MPI's numbers.
NodeGroups::NodeGroups(const Communicator& comm)
    : members_(ranks_by_node(comm)),
      node_(comm.node_of(comm.rank())),
      local_(comm.members(ranks_of(node_), comm.name() + " on " + comm.host_of(comm.rank()))) {
  lanes_ = static_cast<int>(
      std::min_element(members_.begin(), members_.end(),
                       [](const auto& a, const auto& b) { return a.size() < b.size(); })
          ->size());
  if (!local_.extension<NodeControl>(comm).usable_everywhere()) {
    why_not_ = "a node has no shared memory for it";
  }
}

int NodeGroups::lanes(Bytes bytes) const noexcept {
  const Bytes most = std::max<Bytes>(1, bytes / least_lane_bytes);
  return static_cast<int>(std::min(most, static_cast<Bytes>(lanes_)));
}

std::byte* NodeGroups::stage(Bytes bytes) {
  if (stage_.bytes() < bytes) {
    stage_ = {};
    try {
      stage_ = Storage(std::bit_ceil(bytes), Memory::node_shared);
    } catch (const Error&) {
      return nullptr;
    }
  }
  return stage_.data();
}

std::byte* NodeGroups::work(Bytes bytes) {
  if (work_.bytes() < bytes) {
    work_ = {};
    work_ = Storage(std::bit_ceil(bytes), Memory::local);
  }
  return work_.data();
}

int NodeGroups::place_of(Rank rank) const {
  const auto& ranks = ranks_of(node_);
  return static_cast<int>(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin());
}

std::vector<Rank> NodeGroups::lane(int number) const {
  std::vector<Rank> ranks;
  for (const auto& node : members_) ranks.push_back(node[static_cast<std::size_t>(number)]);
  return ranks;
}

std::string why_no_hierarchy(const Communicator& comm) {
  if (comm.on_one_node()) return "the ranks are on one node";
  if (comm.node_count() == comm.size()) return "every rank has a node to itself";
  return comm.extension<NodeGroups>().why_not();
}

}  // namespace shoal
