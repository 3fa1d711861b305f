// What others have measured and published. Constants were fitted to the rows marked "fit" only, though the
// others were known; docs/planning.md has the same tables with their errors.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include <gtest/gtest.h>
#include <shoal/planning/search.hpp>

namespace shoal::planning {
namespace {

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Workload training(Index batch) {
  Workload work;
  work.batch = batch;
  work.sequence = 2048;
  return work;
}

// Narayanan et al. 2021, table 1; micro-batches and chunks as in Megatron-LM's examples/sc21.
TEST(Published, MegatronTable) {
  struct Row {
    const char* model;
    int tp, pp, gpus;
    Index batch, micro;
    int chunks;
    double teraflops;
    bool fit;
  };
  const Row rows[] = {{"megatron-1.7b", 1, 1, 32, 512, 16, 1, 137, true},
                      {"megatron-3.6b", 2, 1, 64, 512, 16, 1, 138, true},
                      {"megatron-7.5b", 4, 1, 128, 512, 16, 1, 142, true},
                      {"megatron-18.4b", 8, 1, 256, 1024, 8, 1, 135, false},
                      {"megatron-39.1b", 8, 2, 512, 1536, 4, 1, 138, false},
                      {"megatron-76.1b", 8, 4, 1024, 1792, 2, 3, 140, false},
                      {"megatron-145.6b", 8, 8, 1536, 2304, 2, 2, 148, false},
                      {"megatron-310.1b", 8, 16, 1920, 2160, 1, 2, 155, false},
                      {"megatron-529.6b", 8, 35, 2520, 2520, 1, 3, 163, false},
                      {"megatron-1t", 8, 64, 3072, 3072, 1, 1, 163, false}};
  const Cluster cluster = find_cluster("a100-ib");
  const Software software = find_software("megatron-2021");
  const Prices prices(cluster);
  std::vector<double> held_out;
  for (const Row& row : rows) {
    const Model model = find_model(row.model);
    Layout layout;
    layout.tp = row.tp;
    layout.pp = row.pp;
    layout.dp = row.gpus / row.tp / row.pp;
    layout.micro_batch = row.micro;
    layout.interleave = row.chunks;
    layout.recompute = Recompute::full;
    const Estimate made = estimate(model, software, prices, training(row.batch), layout);
    ASSERT_EQ(made.why_not, "") << row.model;  // it fitted in their memory
    // They count recomputation, too.
    const auto L = static_cast<double>(model.layers), h = static_cast<double>(model.width);
    const double V = 51200, s = 2048;
    const double flops =
        96 * static_cast<double>(row.batch) * L * s * h * h * (1 + s / (6 * h) + V / (16 * h * L));
    const double predicted = flops / made.seconds / row.gpus * 1e-12;
    const double error = predicted / row.teraflops - 1;
    std::printf("%-16s %4d GPUs: predicted %5.1f, measured %3.0f TFLOP/s (%+.1f %%)%s\n", row.model,
                row.gpus, predicted, row.teraflops, 100 * error, row.fit ? " fit" : "");
    EXPECT_LT(std::abs(error), 0.15) << row.model;
    if (!row.fit) held_out.push_back(std::abs(error));
  }
  EXPECT_LT(median_of(held_out), 0.10);
}

// Korthikanti et al. 2022, tables 3 and 5: seconds of an iteration with full recomputation, and
// with sequence parallelism and selective recomputation. None was used for fitting.
TEST(Published, SelectiveRecomputation) {
  struct Row {
    const char* model;
    int pp;
    Index batch, micro;
    int chunks;
    double full, selective;
  };
  const Row rows[] = {{"megatron-22b", 1, 4, 4, 1, 1.42, 1.10},
                      {"gpt-3-175b", 8, 64, 1, 3, 18.13, 13.75},
                      {"megatron-529.6b", 35, 280, 1, 3, 49.05, 37.83},
                      {"megatron-1t", 64, 512, 1, 1, 94.42, 71.49}};
  const Prices prices(find_cluster("a100-ib"));
  const Software software = find_software("megatron-2022");
  for (const Row& row : rows) {
    const Model model = find_model(row.model);
    Layout layout;
    layout.tp = 8;
    layout.pp = row.pp;
    layout.micro_batch = row.micro;
    layout.interleave = row.chunks;
    layout.recompute = Recompute::full;
    const double full = estimate(model, software, prices, training(row.batch), layout).seconds;
    layout.recompute = Recompute::selective;
    layout.sequence_parallel = true;
    const double selective = estimate(model, software, prices, training(row.batch), layout).seconds;
    std::printf("%-16s full %5.2f s (%+.1f %%), selective %5.2f s (%+.1f %%)\n", row.model, full,
                100 * (full / row.full - 1), selective, 100 * (selective / row.selective - 1));
    EXPECT_NEAR(full / row.full, 1, 0.15) << row.model;
    EXPECT_NEAR(selective / row.selective, 1, 0.15) << row.model;
  }
}

// distributed-llama's README at commits aec85b9 (Raspberry Pi 4, version 0.1) and 7eb77ca
// (Raspberry Pi 5, version 0.3), and its pull requests 64 (versions 0.6 and 0.7) and 136 (0.10.6):
// ms a token.
struct PiRow {
  const char* cluster;
  const char* model;
  int nodes;
  double ms;
  bool fit;
};

Estimate generate(const PiRow& row) {
  const Cluster cluster = find_cluster(row.cluster);
  const Prices prices(cluster);
  Workload work;
  work.kind = Workload::Kind::decode;
  work.sequence = 16;
  work.type = "fp32";
  work.weights = "q40";
  Layout layout;
  layout.tp = row.nodes;
  return estimate(find_model(row.model), find_software(cluster.software), prices, work, layout);
}

TEST(Published, RaspberryPi) {
  const PiRow rows[] = {
      {"rpi4", "llama-2-7b", 1, 1312.50, true},   {"rpi4", "llama-2-7b", 2, 793.69, true},
      {"rpi4", "llama-2-7b", 4, 494.00, false},   {"rpi4", "llama-2-7b", 8, 588.19, false},
      {"rpi4", "llama-2-13b", 2, 1497.19, false}, {"rpi4", "llama-2-13b", 4, 848.19, false},
      {"rpi4", "llama-2-13b", 8, 1114.88, false}, {"rpi4", "llama-2-70b", 8, 4842.81, false},
      {"rpi5", "llama-2-7b", 1, 441.09, false},   {"rpi5", "llama-2-7b", 2, 341.46, false},
      {"rpi5", "llama-2-7b", 4, 219.08, false},   {"rpi5", "llama-3-8b", 1, 564.31, false},
      {"rpi5", "llama-3-8b", 2, 444.27, false},   {"rpi5", "llama-3-8b", 4, 331.47, false},
      {"rpi5", "llama-3-8b", 2, 327.17, false},   {"rpi5", "llama-3-8b", 4, 235.69, false},
      {"rpi5", "llama-3-8b", 2, 343.44, false},   {"rpi5", "llama-3-8b", 4, 256.23, false},
      {"rpi5", "llama-3-8b", 2, 333.66, false},   {"rpi5", "tinyllama-1.1b", 2, 65.93, false}};
  std::vector<double> held_out;
  for (const PiRow& row : rows) {
    const Estimate made = generate(row);
    ASSERT_EQ(made.why_not, "") << row.model << ' ' << row.nodes;
    const double error = 1e3 * made.seconds / row.ms - 1;
    std::printf("%s x %d %-12s predicted %6.0f, measured %6.0f ms (%+.1f %%)%s\n", row.cluster,
                row.nodes, row.model, 1e3 * made.seconds, row.ms, 100 * error,
                row.fit ? " fit" : "");
    if (!row.fit) held_out.push_back(std::abs(error));
    // Known misses, as docs/planning.md says: the transfers of 70B on eight boards, 34 ms a layer,
    // what the vocabulary of Llama 3 cost the root of version 0.3 beyond its product, and
    // operations shorter than those that launches were fitted to.
    const bool known = std::string(row.model) == "llama-2-70b" ||
                       std::string(row.model) == "tinyllama-1.1b" ||
                       (std::string(row.model) == "llama-3-8b" && row.nodes > 1);
    EXPECT_LT(std::abs(error), known ? 0.45 : 0.25) << row.model << ' ' << row.nodes;
  }
  EXPECT_LT(median_of(held_out), 0.20);
}

// Eight boards are slower than four, four quicker than two, for both models: where to stop.
TEST(Published, RaspberryPiStopsAtFour) {
  for (const char* model : {"llama-2-7b", "llama-2-13b"}) {
    const double two = generate({"rpi4", model, 2, 0, false}).seconds;
    const double four = generate({"rpi4", model, 4, 0, false}).seconds;
    const double eight = generate({"rpi4", model, 8, 0, false}).seconds;
    EXPECT_LT(four, two) << model;
    EXPECT_GT(eight, four) << model;
  }
}

// What does not fit is said not to: one Raspberry Pi with 13B, four with 70B.
TEST(Published, RaspberryPiMemory) {
  EXPECT_TRUE(generate({"rpi4", "llama-2-70b", 4, 0, false}).why_not.find("GB") !=
              std::string::npos);
  EXPECT_EQ(generate({"rpi4", "llama-2-7b", 1, 0, false}).why_not, "");
}

// CloudMatrix 384: all-to-all of 128 tokens a rank over 8 dies (Zuo et al. 2025): 118 us for the
// combine of 14 kB a token and expert.
TEST(Published, CloudMatrixCombine) {
  Cluster cluster = find_cluster("cloudmatrix-384");
  // Figures are of a die, half a chip.
  cluster.levels[0].bandwidth.value /= 2;
  const double bytes = 128.0 * 8 * 14336;
  const double seconds = Prices(cluster).collective(Operation::all_to_all, bytes, {8, 1});
  std::printf("combine over 8 dies: predicted %.0f, measured 118 us\n", seconds * 1e6);
  EXPECT_NEAR(seconds, 118e-6, 0.25 * 118e-6);
}

// GPT-2 124M on one H200 in PyTorch 2.11, compiled, by bench/reference/gpu.py, whose products and copies
// the profile is from. No step was used for it.
TEST(Published, OneGpu) {
  struct Row {
    const char* type;
    Index batch, sequence;
    double milliseconds;
  };
  const Row rows[] = {{"bf16", 16, 1024, 31.5}, {"fp32", 16, 1024, 289}, {"fp32", 4, 512, 41.9}};
  const Prices prices(find_cluster("h200-measured"));
  for (const Row& row : rows) {
    Workload work;
    work.type = row.type;
    work.batch = row.batch;
    work.sequence = row.sequence;
    Layout layout;
    layout.micro_batch = row.batch;
    const Estimate made =
        estimate(find_model("gpt2"), find_software("megatron-core"), prices, work, layout);
    std::printf("%s, %ld x %ld tokens: predicted %.1f, measured %.1f ms\n", row.type,
                static_cast<long>(row.batch), static_cast<long>(row.sequence), made.seconds * 1e3,
                row.milliseconds);
    EXPECT_NEAR(made.seconds * 1e3, row.milliseconds, 0.27 * row.milliseconds);
  }
}

}  // namespace
}  // namespace shoal::planning
