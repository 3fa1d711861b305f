// Law: the topology names every rank once, on the node that MPI puts it on.
#include <shoal/runtime/topology.hpp>

#include <gtest/gtest.h>

#include <set>

#include <support/world.hpp>

namespace shoal::testing {
namespace {

TEST(Topology, NamesEveryRankOnce) {
  const Topology topology(world());
  ASSERT_EQ(static_cast<int>(topology.nodes().size()), world().node_count());
  std::set<Rank> seen;
  for (const Topology::Node& node : topology.nodes()) {
    EXPECT_FALSE(node.host.empty());
    EXPECT_GE(node.machine.threads, node.machine.cores);
    EXPECT_GT(node.machine.cores, 0);
    EXPECT_GT(node.machine.memory, Bytes{1} << 20);
    for (const Rank rank : node.ranks) EXPECT_TRUE(seen.insert(rank).second);
  }
  EXPECT_EQ(static_cast<int>(seen.size()), world().size());
  EXPECT_GE(topology.node_usable_threads(), 1);
  EXPECT_GE(default_compute_threads(), 1);
}

}  // namespace
}  // namespace shoal::testing
