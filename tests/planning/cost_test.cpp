// Laws of the formulae.
#include <cmath>
#include <random>

#include <gtest/gtest.h>
#include <shoal/models/memory.hpp>
#include <shoal/planning/search.hpp>
#include <support/random.hpp>

namespace shoal::planning {
namespace {

double sum_of_causes(const Estimate& estimate) {
  double sum = 0;
  for (const Cause& cause : estimate.causes) sum += cause.seconds;
  return sum;
}

Workload training(Index batch, Index sequence) {
  Workload work;
  work.batch = batch;
  work.sequence = sequence;
  return work;
}

Workload decoding(Index batch, Index context, const char* type = "bf16") {
  Workload work;
  work.kind = Workload::Kind::decode;
  work.batch = batch;
  work.sequence = context;
  work.type = type;
  return work;
}

// 72·B·L·s·h²·(1 + s/(6h) + V/(12·h·L)): Narayanan et al. 2021, equation 3 without recomputation.
// Biases and norms, which it leaves out, are in our parameters: 13/(12·h) of them at most.
TEST(Flops, AreMegatronsFormula) {
  for (const char* name : {"megatron-1.7b", "megatron-18.4b", "megatron-1t", "gpt-3-175b"}) {
    const Model model = find_model(name);
    const auto L = static_cast<double>(model.layers), h = static_cast<double>(model.width);
    const auto V = static_cast<double>(model.vocabulary);
    const double B = 96, s = 2048;
    const double formula = 72 * B * L * s * h * h * (1 + s / (6 * h) + V / (12 * h * L));
    EXPECT_NEAR(model_flops(model, training(96, 2048)) / formula, 1, 2 / h) << name;
  }
}

// What the ranks do together is what the model asks for, and a third more with full recomputation.
TEST(Flops, OfAllRanksAreTheModels) {
  const Cluster cluster = find_cluster("a100-ib");
  const Prices prices(cluster);
  const Model model = find_model("megatron-18.4b");
  const Software software = find_software("megatron-2021");
  for (const int tp : {1, 2, 8}) {
    for (const int pp : {1, 4}) {
      Layout layout;
      layout.dp = 4;
      layout.tp = tp;
      layout.pp = pp;
      layout.recompute = Recompute::full;
      const Estimate made = estimate(model, software, prices, training(64, 2048), layout, true);
      Layout free = layout;
      free.recompute = Recompute::none;
      const Estimate kept = estimate(model, software, prices, training(64, 2048), free, true);
      EXPECT_NEAR(kept.done_flops / made.flops, 1, 1e-3);
      // The output layer is not made again.
      EXPECT_NEAR(made.done_flops / made.flops, 4.0 / 3, 0.02);
    }
  }
}

// s·b·h·(34 + 5·a·s/h), s·b·h·(10 + 24/t + 5·a·s/(h·t)), with sequence parallelism all of it by t;
// 34·s·b·h/t with selective recomputation, 2·s·b·h with full: Korthikanti et al. 2022, table 2.
TEST(Memory, OfActivationsIsKorthikantis) {
  const Model model = find_model("megatron-22b");
  Software software = find_software("megatron-2022");
  const auto h = static_cast<double>(model.width), a = static_cast<double>(model.heads);
  const auto L = static_cast<double>(model.layers);
  const double s = 2048, b = 4, sbh = s * b * h;
  const auto activations = [&](int t, bool sp, Recompute recompute) {
    Layout layout;
    layout.tp = t;
    layout.micro_batch = 4;
    layout.sequence_parallel = sp;
    layout.recompute = recompute;
    return memory_need(model, software, training(4, 2048), layout).activations / L;
  };
  const double scores = 5 * a * s / h;
  EXPECT_NEAR(activations(1, false, Recompute::none), sbh * (34 + scores), 1e-9 * sbh);
  EXPECT_NEAR(activations(8, false, Recompute::none), sbh * (10 + 24.0 / 8 + scores / 8),
              1e-9 * sbh);
  EXPECT_NEAR(activations(8, true, Recompute::none), sbh / 8 * (34 + scores), 1e-9 * sbh);
  EXPECT_NEAR(activations(8, true, Recompute::selective), sbh / 8 * 34, 1e-9 * sbh);
  EXPECT_NEAR(activations(1, false, Recompute::full), 2 * sbh, 1e-9 * sbh);
}

// 16 bytes a parameter, and what each stage of ZeRO divides (Rajbhandari et al. 2020, figure 1,
// with gradients in fp32: 2 + 4 + 12).
TEST(Memory, ZeroDividesWhatItSays) {
  const Model model = find_model("megatron-1.7b");
  const Software software = find_software("megatron-core");
  const auto need = [&](int zero) {
    Layout layout;
    layout.dp = 64;
    layout.zero = zero;
    return memory_need(model, software, training(64, 2048), layout);
  };
  const double P = model.parameters();
  const MemoryNeed none = need(0), one = need(1), two = need(2), three = need(3);
  EXPECT_DOUBLE_EQ(none.weights + none.gradients + none.optimizer, 18 * P);
  EXPECT_NEAR(one.optimizer, 12 * P / 64, 1);
  EXPECT_NEAR(two.gradients, 4 * P / 64, 1);
  EXPECT_NEAR(three.weights, 2 * P / 64, 1);
  EXPECT_DOUBLE_EQ(one.weights, none.weights);
  EXPECT_DOUBLE_EQ(one.gradients, none.gradients);
}

// For this runtime: what `shoal train --dry-run` says, to the byte.
TEST(Memory, OfThisRuntimeIsTheTrainers) {
  const Model model = find_model("gpt2");
  const Software software = find_software("shoal");
  for (const int tp : {1, 2, 4}) {
    for (const int zero : {0, 1}) {
      for (const bool again : {false, true}) {
        Layout layout;
        layout.dp = 3;
        layout.tp = tp;
        layout.zero = zero;
        layout.micro_batch = 2;
        layout.recompute = again ? Recompute::full : Recompute::none;
        Workload work = training(12, 512);
        work.type = "fp32";
        models::TrainOptions options;
        options.model.vocabulary = model.vocabulary;
        options.model.block_size = 512;
        options.batch_size = 6;
        options.grad_accum = 2;
        options.savings.shard_optimizer = zero == 1;
        options.savings.recompute = again;
        for (const int pp : {1, 4}) {
          layout.pp = pp;
          const MeshShape mesh{{{"pp", pp}, {"dp", 3}, {"tp", tp}}};
          Bytes most = 0;  // of the stages
          for (int stage = 0; stage < pp; ++stage) {
            most = std::max(most, models::predict_memory(options, mesh, 0, 0, true, stage).total());
          }
          EXPECT_DOUBLE_EQ(memory_need(model, software, work, layout, true).total(),
                           static_cast<double>(most));
        }
      }
    }
  }
}

// The cache of Llama-2 7B takes half a megabyte a token in half precision; that of DeepSeek 70 kB.
TEST(Memory, OfTheCache) {
  Layout layout;
  const Software software = find_software("megatron-core");
  EXPECT_DOUBLE_EQ(memory_need(find_model("llama-2-7b"), software, decoding(1, 1024), layout).cache,
                   1024 * 524288.0);
  EXPECT_DOUBLE_EQ(
      memory_need(find_model("deepseek-r1"), software, decoding(1, 1024), layout).cache,
      1024 * 61 * 576 * 2.0);
  // With more ranks than heads of keys, ranks hold the same ones.
  layout.tp = 16;
  EXPECT_DOUBLE_EQ(
      memory_need(find_model("llama-2-70b"), software, decoding(1, 1024), layout).cache,
      1024.0 * 80 * 2 * 8 * 128 * 2 / 8);
}

// A product is never quicker than its operations at the attained peak, or its bytes at the
// bandwidth.
TEST(Products, KeepTheRoofline) {
  std::mt19937_64 random = testing::generator();
  std::uniform_real_distribution<double> exponent(0, 14);
  for (const std::string& name : profile_names("devices")) {
    const Device device = find_device(name);
    const ProductRate rate = device.product_rate(device.peak.begin()->first);
    for (int i = 0; i < 200; ++i) {
      const double m = std::ceil(std::exp2(exponent(random)));
      const double n = std::ceil(std::exp2(exponent(random)));
      const double k = std::ceil(std::exp2(exponent(random)));
      const double bytes = 2 * (m * k + k * n + m * n);
      const double seconds = product_seconds(device, rate, m, n, k, 1, bytes);
      EXPECT_GE(seconds * (1 + 1e-12), 2 * m * n * k / (rate.flops * device.matrix_efficiency));
      EXPECT_GE(seconds * (1 + 1e-12), bytes / device.memory_bandwidth);
      EXPECT_LT(seconds, 1e4);
    }
  }
  // Large squares reach nearly all of it.
  const Device a100 = find_device("a100-80gb");
  const double big = product_seconds(a100, a100.product_rate("bf16"), 16384, 16384, 16384, 1,
                                     3 * 2 * 16384.0 * 16384);
  EXPECT_LT(2 * std::pow(16384.0, 3) / big / 312e12, a100.matrix_efficiency);
  EXPECT_GT(2 * std::pow(16384.0, 3) / big / 312e12, 0.95 * a100.matrix_efficiency);
}

TEST(Collectives, LieWhereTheirRanksDo) {
  const Cluster cluster = find_cluster("a100-ib");
  const Prices prices(cluster);
  EXPECT_EQ(prices.spread({8, 1}), (std::vector<int>{8, 1}));
  EXPECT_EQ(prices.spread({16, 1}), (std::vector<int>{8, 2}));
  EXPECT_EQ(prices.spread({4, 8}), (std::vector<int>{1, 4}));
  EXPECT_EQ(prices.spread({8, 2}), (std::vector<int>{4, 2}));
  EXPECT_EQ(prices.spread({6, 4}), (std::vector<int>{2, 3}));
  EXPECT_EQ(prices.spread({12, 1}), (std::vector<int>{6, 2}));
  int level = -1;
  prices.collective(Operation::all_reduce, 1e6, {8, 1}, &level);
  EXPECT_EQ(level, 0);
  prices.collective(Operation::all_reduce, 1e6, {8, 8}, &level);
  EXPECT_EQ(level, 1);
  prices.collective(Operation::all_reduce, 1e6, {8, 8}, &level);  // remembered
  EXPECT_EQ(level, 1);
}

// On one level: exactly the least of the formulae in the registry, and above the bound of bytes.
TEST(Collectives, AreTheRegistrys) {
  const Cluster cluster = find_cluster("rpi4");
  const Prices prices(cluster);
  for (const double bytes : {8.0, 4096.0, 1e6, 1e8}) {
    for (const int ranks : {2, 3, 4, 7, 8}) {
      const double got = prices.collective(Operation::all_reduce, bytes, {ranks, 1});
      double least = 1e300;
      for (const char* name : {"recursive_doubling", "recursive_multiplying", "hybrid",
                               "rabenseifner", "direct", "ring", "bidirectional_ring"}) {
        least =
            std::min(least, find_algorithm(Operation::all_reduce, name)
                                .cost(static_cast<Bytes>(bytes), ranks, prices.network(0, ranks))
                                .count());
      }
      EXPECT_DOUBLE_EQ(got, least);
      EXPECT_GE(got, 2.0 * (ranks - 1) / ranks * bytes * cluster.levels[0].beta());
    }
  }
}

// The fuller a node is with members, the less goes over its links.
TEST(Collectives, OfNodesUseTheirInside) {
  const Prices prices(find_cluster("a100-ib"));
  const double packed = prices.collective(Operation::all_reduce, 1e9, {64, 1});
  const double spread = prices.collective(Operation::all_reduce, 1e9, {64, 8});
  EXPECT_LT(packed, spread / 2);
}

// More of anything good never makes the same layout slower; and causes add up to the step.
TEST(Laws, MoreIsNeverSlower) {
  std::mt19937_64 random = testing::generator();
  const auto pick = [&](auto... choices) {
    const int all[] = {choices...};
    return all[random() % sizeof...(choices)];
  };
  int seen = 0;
  for (int i = 0; i < 300; ++i) {
    const char* const pairs[][2] = {
        {"gpt-3-175b", "a100-ib"},         {"llama-3-70b", "h100-ib"},
        {"deepseek-r1", "h800-ib"},        {"llama-2-7b", "rpi5"},
        {"gpt2-xl", "xeon-8480-ib"},       {"deepseek-r1", "gb200-nvl72"},
        {"deepseek-r1", "cloudmatrix-384"}};
    const auto& pair = pairs[random() % std::size(pairs)];
    const Model model = find_model(pair[0]);
    Cluster cluster = find_cluster(pair[1]);
    cluster.device.memory_bytes.value = 1e15;
    const Software software = find_software(cluster.software);
    Workload work = pick(0, 1) == 0 ? training(64, 1024) : decoding(64, 1024);
    if (software.exchange == Software::Exchange::star) work = decoding(1, 512, "fp32");
    Layout layout;
    layout.dp = pick(1, 2, 4);
    layout.tp = pick(1, 2, 4, 8);
    layout.pp = pick(1, 1, 2, 4);
    layout.micro_batch = pick(1, 2, 4);
    if (model.experts > 0) layout.ep = pick(1, 2, 8);
    const Estimate base = estimate(model, software, Prices(cluster), work, layout);
    if (!base.why_not.empty()) continue;
    ++seen;
    EXPECT_NEAR(sum_of_causes(base), base.seconds, 1e-9 * base.seconds);
    EXPECT_GT(base.seconds, 0);
    EXPECT_LE(base.peak_share, 1);
    const auto no_slower = [&](const char* what, const auto& change) {
      Cluster better = cluster;
      change(better);
      const Estimate made = estimate(model, software, Prices(better), work, layout);
      EXPECT_LE(made.seconds, base.seconds * (1 + 1e-9)) << what << ' ' << layout.text();
    };
    for (std::size_t l = 0; l < cluster.levels.size(); ++l) {
      no_slower("bandwidth", [&](Cluster& c) { c.levels[l].bandwidth.value *= 1.5; });
      no_slower("latency", [&](Cluster& c) { c.levels[l].latency.value /= 1.5; });
      no_slower("overhead", [&](Cluster& c) { c.levels[l].overhead.value /= 1.5; });
      no_slower("sharing", [&](Cluster& c) { c.levels[l].shared_by = 1; });
    }
    no_slower("memory", [&](Cluster& c) { c.device.memory_bandwidth.value *= 1.5; });
    no_slower("launches", [&](Cluster& c) { c.device.launch_seconds.value /= 2; });
    no_slower("peak", [&](Cluster& c) {
      for (auto& [type, peak] : c.device.peak) peak.value *= 1.5;
    });
    Workload larger = work;
    larger.batch *= 2;
    EXPECT_GE(estimate(model, software, Prices(cluster), larger, layout).seconds,
              base.seconds * (1 - 1e-9));
  }
  EXPECT_GT(seen, 30);
}

// (p − 1)/m of the work of a step is lost, (p − 1)/(v·m) when interleaved, where stages are alike.
TEST(Laws, BubblesAreThePapers) {
  Cluster cluster = find_cluster("a100-ib");
  const Prices prices(cluster);
  Model model = find_model("gpt-3-175b");
  model.vocabulary = 1;  // the last stage is as the others
  const Software software = find_software("megatron-2021");
  for (const int v : {1, 2, 6}) {
    Layout layout;
    layout.tp = 8;
    layout.pp = 8;
    layout.interleave = v;
    const Estimate made = estimate(model, software, prices, training(32, 2048), layout, true);
    double bubble = 0, busy = 0;
    for (const Cause& cause : made.causes) {
      if (cause.name == "pipeline bubble") bubble = cause.seconds;
      if (cause.name == "matrix products" || cause.name == "memory and launches" ||
          cause.name == "NVLink") {
        busy += cause.seconds;
      }
    }
    EXPECT_NEAR(bubble / busy, 7.0 / (v * 32), 0.02 * 7.0 / (v * 32)) << v;
  }
}

}  // namespace
}  // namespace shoal::planning
