// The search finds what trying all would find, and says what helps.
#include <chrono>

#include <gtest/gtest.h>
#include <shoal/planning/search.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::planning {
namespace {

Workload step(Index batch) {
  Workload work;
  work.batch = batch;
  work.sequence = 1024;
  return work;
}

// Every layout of 16 devices, without the search's rules.
TEST(Search, FindsTheBestOfAll) {
  const Model model = find_model("gpt2-xl");
  const Software software = find_software("megatron-core");
  Cluster cluster = find_cluster("a100-ib");
  cluster.nodes = 2;
  const Workload work = step(64);
  const Prices prices(cluster);
  double best = 1e300;
  for (int tp = 1; tp <= 16; ++tp) {
    for (int pp = 1; pp * tp <= 16; ++pp) {
      for (int dp = 1; dp * pp * tp <= 16; ++dp) {
        for (Index micro = 1; micro <= 64; micro *= 2) {
          for (int v = 1; v <= 16; ++v) {
            for (int zero = 0; zero <= 3; ++zero) {
              for (const Recompute again :
                   {Recompute::none, Recompute::selective, Recompute::full}) {
                const Layout layout{dp, tp, pp, 1, micro, v, zero, again, tp > 1};
                const Estimate made = estimate(model, software, prices, work, layout);
                if (made.why_not.empty()) best = std::min(best, made.seconds);
              }
            }
          }
        }
      }
    }
  }
  const Found found = search(model, software, cluster, work);
  ASSERT_FALSE(found.best.empty());
  EXPECT_NEAR(found.best.front().seconds, best, 1e-9 * best);
  for (std::size_t i = 1; i < found.best.size(); ++i) {
    EXPECT_LE(found.best[i - 1].seconds, found.best[i].seconds);
  }
}

TEST(Search, KeepsWhatIsFixed) {
  const Model model = find_model("gpt-3-175b");
  const Software software = find_software("megatron-core");
  const Cluster cluster = find_cluster("a100-ib");
  Fixed fixed;
  fixed.tp = 8;
  fixed.pp = 16;
  fixed.dp = 4;
  fixed.micro_batch = 2;
  fixed.recompute = Recompute::full;
  const Found found = search(model, software, cluster, step(256), fixed);
  ASSERT_FALSE(found.best.empty());
  for (const Estimate& each : found.best) {
    EXPECT_EQ(each.layout.ranks(), 512);
    EXPECT_EQ(each.layout.micro_batch, 2);
    EXPECT_EQ(each.layout.recompute, Recompute::full);
  }
}

TEST(Search, DropsWhatDoesNotFit) {
  const Model model = find_model("gpt-3-175b");
  const Software software = find_software("megatron-core");
  Cluster cluster = find_cluster("a100-ib");
  cluster.nodes = 1;
  const Found none = search(model, software, cluster, step(8));
  EXPECT_TRUE(none.best.empty());
  ASSERT_TRUE(none.nearest.has_value());
  EXPECT_GT(none.nearest->memory.total(), 80e9);
  cluster.nodes = 8;
  const Found some = search(model, software, cluster, step(8));
  ASSERT_FALSE(some.best.empty());
  EXPECT_GT(some.too_large, 0);
  for (const Estimate& each : some.best) {
    EXPECT_LE(each.memory.total(), usable_memory * cluster.device.memory_bytes);
  }
}

// A changed figure that a layout does not wait for does not help; twice the nodes never hurts.
TEST(Search, KnowsWhatHelps) {
  const Model model = find_model("llama-2-7b");
  Cluster cluster = find_cluster("rpi4");
  const Software software = find_software(cluster.software);
  cluster.nodes = 1;
  Workload work;
  work.kind = Workload::Kind::decode;
  work.sequence = 64;
  work.type = "fp32";
  work.weights = "q40";
  const Found found = search(model, software, cluster, work);
  ASSERT_FALSE(found.best.empty());
  for (const Improvement& each : improvements(model, software, cluster, work, {}, found)) {
    EXPECT_GE(each.speedup, 1 - 1e-9) << each.change;
    if (each.change.find("Ethernet") != std::string::npos) {
      EXPECT_NEAR(each.speedup, 1, 1e-9);
    }
    if (each.change == "twice the nodes") {
      EXPECT_GT(each.speedup, 1.3);
    }
  }
}

TEST(Search, RefusesNonsense) {
  const Model model = find_model("gpt2");
  const Software software = find_software("shoal");
  const Cluster cluster = find_cluster("epyc-9965-10g");
  Workload work = step(0);
  EXPECT_THROW(search(model, software, cluster, work), UsageError);
  work.batch = 8;
  work.sequence = 4096;  // GPT-2 reads 1024
  EXPECT_THROW(search(model, software, cluster, work), UsageError);
  work.sequence = 1024;
  work.type = "fp7";
  EXPECT_THROW(search(model, software, cluster, work), UsageError);
}

}  // namespace
}  // namespace shoal::planning
