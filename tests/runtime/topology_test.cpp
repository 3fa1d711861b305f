// Law: the topology names every rank once, on the node that MPI puts it on.
#include <shoal/runtime/topology.hpp>

#include <gtest/gtest.h>
#include <sched.h>

#include <set>

#include <shoal/runtime/cores.hpp>

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

// Law: whatever core a rank runs on is one of those that its node's ranks share, each by its own number.
TEST(Cores, EachHasANumberBelowHowManyThereAre) {
  const Topology topology(world());
  ASSERT_EQ(node_threads(), topology.node_usable_threads());
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  std::set<int> seen;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    ASSERT_EQ(sched_setaffinity(0, sizeof only, &only), 0);
    const int here = current_node_thread();
    EXPECT_GE(here, 0);
    EXPECT_LT(here, node_threads());
    EXPECT_TRUE(seen.insert(here).second) << "two cores have the number " << here;
  }
  EXPECT_EQ(sched_setaffinity(0, sizeof allowed, &allowed), 0);
}

}  // namespace
}  // namespace shoal::testing
