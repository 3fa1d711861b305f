// Reduce-scatter in two levels that adds the inputs of all ranks at once, in the order of ranks, so that sums can
// be reproducible. No partial sums: every node sends the inputs of all its ranks to the node of the rank that gets
// the result. A link carries as much as if every rank sent to every other (direct.cpp), but in one message for each
// lane and node instead of one for each pair of ranks, and what has come is added while the rest is on the wire.
//
// Each lane (NodeGroups) has a slice of every rank's block, and puts the sums for the ranks of its node into their
// outputs. Nodes may have different numbers of ranks. Buffers in private memory pass through a stage in parts.
//
// Cost, with N nodes of up to k of the p ranks: α + (N−2)·o + 1.05·k·(N−1)/N·n·β + p/N·n/k·γ + 2·k flags + 2·n/k of
// memory. Source: Thakur, Rabenseifner & Gropp 2005, section 3.4; the levels from Träff & Hunold 2020, Decomposing
// MPI collectives for exploiting multi-lane communication.
#include <utility>
#include <vector>

#include "algorithm.hpp"
#include "node/gathering_lane.hpp"
#include "node/groups.hpp"
#include "reduce_scatter/in_shared_memory.hpp"

namespace shoal {
namespace {

class HierarchicalGathered final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  bool reproduces() const noexcept override { return true; }
  std::string why_not(const Call& call) const override { return why_no_hierarchy(*call.comm); }

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double elsewhere = static_cast<double>(net.nodes - 1) / net.nodes;
    return Seconds(net.alpha + (net.nodes - 2) * net.overhead +
                   crowded_links * net.per_node * elsewhere * n * net.beta +
                   ranks * n / net.nodes / net.per_node * net.gamma + 2 * net.per_node * net.node_alpha +
                   2 * n * net.node_beta / net.per_node);
  }

  void run(const Call& call) const override {
    NodeGroups& groups = call.comm->extension<NodeGroups>();
    const Bytes most = gathered_part_bytes(groups, call.comm->size());
    const auto parts = static_cast<int>((call.bytes() + most - 1) / most);
    for (int part = 0; part < parts; ++part) {
      const std::vector<Share> shares = shares_of(call, parts, part);
      in_shared_memory(call, shares, groups, [&](const Call& seen, const NodeControl* control, bool staged) {
        run_gathering_lane(seen, shares, groups, control, staged);
      });
    }
  }

 private:
  static void run_gathering_lane(const Call& call, const std::vector<Share>& shares, NodeGroups& groups,
                                 const NodeControl* control, bool staged) {
    const int lanes = groups.lanes(bytes_of(shares, size_of(call.type)));
    if (groups.place() >= lanes) return;
    std::vector<const std::byte*> inputs;
    for (Rank rank = 0; rank < groups.local().size(); ++rank) {
      inputs.push_back(bytes_at(control == nullptr ? call.in : input_of(*control, rank), 0));
    }
    std::vector<std::vector<GatheredPiece>> pieces(static_cast<std::size_t>(groups.nodes()));
    for (int node = 0; node < groups.nodes(); ++node) {
      for (const Slice& slice : slices_of(call, shares, groups, control, staged, lanes, node)) {
        GatheredPiece piece{slice.from, slice.size, {}};
        if (slice.owner != nullptr) piece.outputs.push_back(slice.owner);
        pieces[static_cast<std::size_t>(node)].push_back(std::move(piece));
      }
    }
    GatheringLane(call, groups, std::move(inputs), std::move(pieces)).run();
  }
};

}  // namespace

const Algorithm& reduce_scatter_hierarchical_gathered() {
  static const HierarchicalGathered algorithm(
      {Operation::reduce_scatter, "hierarchical_gathered",
       "reproducible sums, several ranks a node: a message a node, not one a rank",
       "Träff & Hunold 2020; Thakur, Rabenseifner & Gropp 2005, section 3.4"});
  return algorithm;
}

}  // namespace shoal
