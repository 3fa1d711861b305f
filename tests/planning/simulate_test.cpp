// The simulation against the closed formulae, and what only it can show.
#include <cmath>
#include <cstdio>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <shoal/collectives/messages.hpp>
#include <shoal/planning/simulate.hpp>
#include <shoal/runtime/error.hpp>
#include <support/random.hpp>

namespace shoal::planning {
namespace {

Workload training(Index batch, Index sequence = 1024) {
  Workload work;
  work.batch = batch;
  work.sequence = sequence;
  return work;
}

// What is received somewhere was sent there in the same round, and an all-reduce leaves nothing
// out.
TEST(Messages, MatchInEveryAlgorithm) {
  Network net;
  net.alpha = 1e-6;
  net.beta = 1e-9;
  net.nodes = 1;
  for (const Operation operation : {Operation::all_reduce, Operation::reduce_scatter,
                                    Operation::all_gather, Operation::all_to_all}) {
    int seen = 0;
    for (const Algorithm* algorithm : algorithms(operation)) {
      const std::string_view name = algorithm->name();
      if (name == "mpi" || name == "gathered" || name.starts_with("node_") ||
          name.starts_with("hierarchical")) {
        EXPECT_THROW(messages_of(*algorithm, 8, 2, 0, net), Error) << name;
        continue;
      }
      ++seen;
      for (const int members : {2, 3, 4, 6, 7, 8, 12, 17}) {
        const Bytes bytes = static_cast<Bytes>(members) * 1000;
        std::vector<std::vector<MessageRound>> all;
        for (int me = 0; me < members; ++me) {
          all.push_back(messages_of(*algorithm, bytes, members, me, net));
        }
        for (int me = 0; me < members; ++me) {
          ASSERT_EQ(all[static_cast<std::size_t>(me)].size(), all.front().size()) << name;
          Bytes received = 0;
          for (std::size_t r = 0; r < all.front().size(); ++r) {
            for (const MessageTo& receive : all[static_cast<std::size_t>(me)][r].receives) {
              received += receive.bytes;
              int found = 0;
              for (const MessageTo& send : all[static_cast<std::size_t>(receive.peer)][r].sends) {
                found += send.peer == me && send.bytes == receive.bytes;
              }
              EXPECT_GE(found, 1) << name << " of " << members << ", round " << r;
            }
          }
          // Nobody can do with less: (p−1)/p of the data, twice that for an all-reduce.
          const Bytes least = bytes / static_cast<Bytes>(members) * static_cast<Bytes>(members - 1);
          const bool guest = received == bytes;  // of a power of two: handed all of it
          EXPECT_TRUE(received >= least || guest) << name << " of " << members;
        }
      }
    }
    EXPECT_GE(seen, 1);
  }
}

// Nothing else on the wires: within 5 % of the formulae, over models, clusters and layouts.
TEST(Simulation, AgreesWithTheFormulae) {
  struct Case {
    const char* model;
    const char* cluster;
    Layout layout;
    Index batch;
  };
  std::vector<Case> cases;
  for (const int tp : {1, 2, 4, 8}) {
    for (const int dp : {1, 2, 4}) {
      cases.push_back({"megatron-3.6b", "a100-ib", {dp, tp, 1, 1, 2}, 8});
      cases.push_back({"llama-2-7b", "h100-ib", {dp, tp, 1, 1, 1}, 8});
    }
  }
  for (const int pp : {2, 4, 8}) {
    cases.push_back({"gpt-3-175b", "a100-ib", {2, 8, pp, 1, 1}, 64});
    cases.push_back({"megatron-18.4b", "a100-ib", {1, 4, pp, 1, 2}, 64});
  }
  cases.push_back({"gpt2", "epyc-9965-10g", {8, 1, 1, 1, 4}, 32});
  cases.push_back({"gpt2-xl", "epyc-9965-10g", {4, 5, 1, 1, 4}, 32});
  cases.push_back({"gpt2-xl", "xeon-6980p-ib", {16, 5, 1, 1, 4}, 64});
  cases.push_back({"gpt2-xl", "ampere-m128-10g", {3, 5, 1, 1, 4}, 48});
  cases.push_back({"deepseek-r1", "h800-ib", {8, 1, 1, 8, 1}, 32});
  int seen = 0;
  double worst = 0;
  for (Case& each : cases) {
    const Model model = find_model(each.model);
    Cluster cluster = find_cluster(each.cluster);
    cluster.device.memory_bytes.value = 1e15;
    cluster.nodes = 1024;
    const Prices prices(cluster);
    Software software = find_software(cluster.software);
    each.layout.sequence_parallel = software.sequence_parallel && each.layout.tp > 1;
    // Gradients beside the exchanges of a layer on the same links are contention: here they come
    // after.
    int inner = -1, outer = -2;
    if (each.layout.tp > 1 || each.layout.ep > 1) {
      const int most = std::max(each.layout.tp, each.layout.ep);
      prices.collective(Operation::all_reduce, 1e6, {most, 1}, &inner);
    }
    if (each.layout.dp > 1) {
      prices.collective(Operation::all_reduce, 1e6, {each.layout.dp, each.layout.tp}, &outer);
    }
    if (inner == outer) software.gradient_overlap.value = 0;
    Workload work = training(each.batch);
    if (cluster.software == "shoal") work.type = "fp32";
    const Estimate formula = estimate(model, software, prices, work, each.layout);
    ASSERT_EQ(formula.why_not, "") << each.model << ' ' << each.layout.text();
    const Simulated made = simulate(model, software, prices, work, each.layout);
    const double off = made.seconds / formula.seconds - 1;
    worst = std::max(worst, std::abs(off));
    ++seen;
    EXPECT_LT(std::abs(off), 0.05)
        << each.model << " on " << each.cluster << ' ' << each.layout.text() << ": " << made.seconds
        << " and " << formula.seconds;
  }
  std::printf("%d configurations, the worst %.1f %% apart\n", seen, 100 * worst);
}

// Reading and generating, too.
TEST(Simulation, AgreesOnInference) {
  for (const auto kind : {Workload::Kind::prefill, Workload::Kind::decode}) {
    for (const int tp : {1, 2, 4, 8}) {
      for (const char* name : {"h100-ib", "rpi4"}) {
        Cluster cluster = find_cluster(name);
        cluster.device.memory_bytes.value = 1e15;
        const Prices prices(cluster);
        const Software software = find_software(cluster.software);
        Workload work;
        work.kind = kind;
        work.sequence = 512;
        work.type = "fp32";
        Layout layout;
        layout.tp = tp;
        const Model model = find_model("llama-2-7b");
        const Estimate formula = estimate(model, software, prices, work, layout);
        ASSERT_EQ(formula.why_not, "");
        const Simulated made = simulate(model, software, prices, work, layout);
        EXPECT_NEAR(made.seconds / formula.seconds, 1, 0.05) << name << ' ' << layout.text();
      }
    }
  }
}

class Small : public ::testing::Test {
 protected:
  Small() : cluster(find_cluster("a100-ib")), prices(cluster) {
    layout.dp = 4;
    layout.tp = 4;
    layout.micro_batch = 2;
  }
  Simulated run(const Disturbance& disturbance = {}, int traced = 0) {
    return simulate(model, software, prices, training(16), layout, disturbance, traced);
  }
  Cluster cluster;
  Prices prices;
  Model model = find_model("megatron-1.7b");
  Software software = find_software("megatron-core");
  Layout layout;
};

// All wait for the slowest: one rank of sixteen that computes twice as long.
TEST_F(Small, WaitsForStragglers) {
  software.gradient_overlap.value = 0;  // a slow rank would hide more of them
  const Simulated undisturbed = run();
  const double before = undisturbed.seconds;
  Disturbance slow;
  slow.slow_ranks = {{7, 2.0}};
  const double after = run(slow).seconds;
  EXPECT_GT(after, before + 0.9 * undisturbed.computing);
  EXPECT_LT(after, before + 1.1 * undisturbed.computing);
  Disturbance link;
  link.slow_links = {{3, 10.0}};
  EXPECT_GT(run(link).seconds, before * 1.02);
}

// The more ranks must wait for each other, the worse the same jitter.
TEST_F(Small, JitterCosts) {
  const double before = run().seconds;
  Disturbance jitter;
  jitter.jitter = 0.1;
  jitter.seed = testing::seed();
  const Simulated one = run(jitter), again = run(jitter);
  EXPECT_EQ(one.seconds, again.seconds);  // the same seed, the same step
  EXPECT_GT(one.seconds, before * 1.05);
  EXPECT_LT(one.seconds, before * 1.5);
}

// Eight nodes send to one link at once where their ranks share it: it takes as long as their bytes.
TEST_F(Small, SharedLinksCarryOneAfterTheOther) {
  Cluster shared = cluster;
  shared.levels[1].shared_by = 8;
  const Prices slow(shared);
  Workload work = training(16);
  Layout spread = layout;
  spread.tp = 8;
  spread.dp = 8;
  spread.micro_batch = 1;
  software.gradient_overlap.value = 0;
  const double own = simulate(model, software, prices, work, spread).seconds;
  const double all = simulate(model, software, slow, work, spread).seconds;
  const double one = prices.collective(Operation::all_reduce,
                                       model.parameters() / 8 * software.reduced_bytes, {8, 8});
  EXPECT_NEAR((all - own) / (7 * one), 1, 0.1);
}

// What an exchange takes of the units that compute, the computation beside it loses, as the formulae say where the
// gradients are summed before the backward pass is through.
TEST_F(Small, ExchangesTakeUnitsFromTheComputationBesideThem) {
  layout.tp = 1;
  layout.dp = 16;
  layout.micro_batch = 4;
  const Workload work = training(64);
  const auto both = [&] {
    return std::pair(simulate(model, software, prices, work, layout).seconds,
                     estimate(model, software, prices, work, layout).seconds);
  };
  const auto [simulated, planned] = both();
  software.exchange_units = Figure{cluster.device.units / 2, 'E', "half of them"};
  const auto [simulated_with, planned_with] = both();
  ASSERT_GT(planned_with, planned * 1.01);
  EXPECT_NEAR((simulated_with - simulated) / (planned_with - planned), 1, 0.25);
}

// Spans of a rank follow each other on each of its lines, and end with the step.
TEST_F(Small, TracesWhatRanksDid) {
  const Simulated made = run({}, 2);
  ASSERT_FALSE(made.spans.empty());
  double end[2][2] = {};
  for (const Span& span : made.spans) {
    ASSERT_TRUE(span.rank == 0 || span.rank == 1);
    double& last = end[span.rank][span.background ? 1 : 0];
    EXPECT_GE(span.begin, last * (1 - 1e-12));
    last = span.begin + span.seconds;
    EXPECT_LE(last, made.seconds * (1 + 1e-12));
  }
  EXPECT_GT(end[0][1], 0);  // gradients went beside the backward pass
  const auto json = nlohmann::json::parse(chrome_trace(made.spans));
  EXPECT_GE(json["traceEvents"].size(), made.spans.size());
}

TEST_F(Small, RefusesWhatItCannotDo) {
  Disturbance nobody;
  nobody.slow_ranks = {{16, 2.0}};
  EXPECT_THROW(run(nobody), UsageError);
  nobody.slow_ranks = {{0, 0.5}};
  EXPECT_THROW(run(nobody), UsageError);
  layout.zero = 3;
  EXPECT_THROW(run(), UsageError);
  layout.zero = 0;
  layout.tp = 5;
  EXPECT_THROW(run(), UsageError);
}

}  // namespace
}  // namespace shoal::planning
