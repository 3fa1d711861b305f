// Training throughput of many GPUs, as others have published it, with the layouts that they say.
// Nothing is fitted to a row of these tables; docs/planning.md has them with their errors.
#include <vector>

#include "published_rows.hpp"

namespace shoal::planning {
namespace {

// A row of a table that gives seconds of a step.
TrainingRow timed(const char* cluster, const char* model, Layout layout, Index sequence,
                  Index batch, double seconds) {
  const double tokens = static_cast<double>(batch * sequence);
  return {cluster, model, sequence, batch, layout, tokens / seconds / layout.ranks(), {}, {}};
}

Layout divided(int gpus, int tp, int pp, int chunks, Index micro) {
  Layout layout;
  layout.tp = tp;
  layout.pp = pp;
  layout.dp = gpus / tp / pp;
  layout.interleave = chunks;
  layout.micro_batch = micro;
  return layout;
}

// As NeMo runs them: the optimizer divided over the replicas, sequence parallelism with tp.
Layout as_nemo(int gpus, int tp, int pp, int chunks, Index micro) {
  Layout layout = divided(gpus, tp, pp, chunks, micro);
  layout.zero = layout.dp > 1 ? 1 : 0;
  layout.sequence_parallel = tp > 1;
  return layout;
}

// NVIDIA, dgxc-benchmarking: nemo_megatron/README_175b.md at 0b71cfd, nemotron/README_340b.md at
// 35a9aec and nemotron/README_15b.md at 0b71cfd: NeMo 24.09 and 24.11 on H100, seconds of a step.
std::vector<TrainingRow> nemo_rows(bool fp8) {
  struct Seconds {
    int gpus;
    double bf16, fp8;
  };
  std::vector<TrainingRow> rows;
  const auto add = [&](const char* model, Index sequence, int gpus_a_batch, Index batch, int tp,
                       int pp, int chunks, Index micro, const std::vector<Seconds>& table) {
    for (const Seconds& each : table) {
      rows.push_back(timed("h100-ib", model, as_nemo(each.gpus, tp, pp, chunks, micro), sequence,
                           each.gpus / gpus_a_batch * batch, fp8 ? each.fp8 : each.bf16));
    }
  };
  add("gpt-3-175b", 2048, 128, 256, 4, 8, 12, 1,
      {{128, 8.309, 5.626},
       {256, 8.408, 5.725},
       {512, 8.42, 5.774},
       {1024, 8.453, 5.82},
       {2048, 8.49, 5.96}});
  add("nemotron-4-340b", 4096, 128, 32, 8, 8, 12, 1,
      {{128, 4.61, 3.16},
       {256, 4.67, 3.21},
       {512, 4.70, 3.26},
       {1024, 4.73, 3.34},
       {2048, 4.84, 3.49}});
  add("nemotron-4-15b", 4096, 16, 64, 4, 1, 1, 4,
      {{16, 2.83, 2.08},
       {64, 2.86, 2.09},
       {256, 2.88, 2.10},
       {1024, 2.92, 2.12},
       {2048, 2.96, 2.18}});
  return rows;
}

TEST(PublishedClusters, NemoInBf16) {
  EXPECT_LT(middle_of(errors_of(nemo_rows(false), "megatron-core", "bf16")), 0.15);
}

TEST(PublishedClusters, NemoInFp8) {
  EXPECT_LT(middle_of(errors_of(nemo_rows(true), "megatron-core", "fp8")), 0.15);
}

// NVIDIA 2024, Nemotron-4 340B technical report, table 2: seconds of an iteration on 6144 H100.
TEST(PublishedClusters, Nemotron) {
  const TrainingRow row =
      timed("h100-ib", "nemotron-4-340b", as_nemo(6144, 8, 12, 8, 1), 4096, 2304, 8.0);
  EXPECT_LT(middle_of(errors_of({row}, "megatron-core", "bf16")), 0.15);
}

// Smith et al. 2022 (Megatron-Turing NLG 530B), section 2.4: 280, 350 and 420 nodes of 8 A100;
// seconds of an iteration of 1920 sequences. A known miss: what DeepSpeed's pipeline takes beyond
// Megatron's is not known here.
TEST(PublishedClusters, MegatronTuring) {
  const auto row = [](int gpus, double seconds) {
    Layout layout = divided(gpus, 8, 35, 1, 1);
    layout.recompute = Recompute::full;
    return timed("a100-ib", "megatron-529.6b", layout, 2048, 1920, seconds);
  };
  const std::vector<double> errors =
      errors_of({row(2240, 60.1), row(2800, 50.2), row(3360, 44.4)}, "megatron-2021", "bf16");
  EXPECT_LT(middle_of(errors), 0.40);
}

// BigScience 2022 (BLOOM): 384 A100 in nodes of 8 with four links of 100 Gbit/s, tp=4, pp=12,
// micro-batches of 2; 150 TFLOP/s a GPU, recomputation counted (their page on the model, "training
// throughput"). As of MegatronTuring, what DeepSpeed adds is not known here.
TEST(PublishedClusters, Bloom) {
  Cluster cluster = find_cluster("a100-ib");
  cluster.levels[1].bandwidth.value = 4 * 12.5e9 / 8;
  cluster.device.memory_bytes.value = 1e15;
  Workload work;
  work.batch = 2048;
  work.sequence = 2048;
  Layout layout = divided(384, 4, 12, 1, 2);
  layout.recompute = Recompute::full;
  const Model model = find_model("bloom-176b");
  const Estimate made =
      estimate(model, find_software("megatron-2021"), Prices(cluster), work, layout);
  ASSERT_EQ(made.why_not, "");
  const double L = 70, h = 14336, V = 250880, s = 2048;
  const double flops = 96 * 2048 * L * s * h * h * (1 + s / (6 * h) + V / (16 * h * L));
  const double predicted = flops / made.seconds / 384 * 1e-12;
  std::printf("bloom-176b on 384 A100: predicted %.0f, measured 150 TFLOP/s (%+.1f %%)\n",
              predicted, 100 * (predicted / 150 - 1));
  EXPECT_NEAR(predicted / 150, 1, 0.25);
}

// NVIDIA, dgxc-benchmarking, deepseek_v3/pretraining/README.md: DeepSeek-V3 by Megatron-Core in
// bf16 on 1024 H100; what is recomputed it does not say: the plan takes what memory needs.
TEST(PublishedClusters, DeepSeekByMegatron) {
  Cluster cluster = find_cluster("h100-ib");
  cluster.nodes = 128;
  Workload work;
  work.batch = 8192;
  work.sequence = 4096;
  Fixed fixed;
  fixed.dp = 32;
  fixed.tp = 2;
  fixed.pp = 16;
  fixed.ep = 64;
  fixed.micro_batch = 1;
  fixed.interleave = 1;
  const Found found =
      search(find_model("deepseek-r1"), find_software("megatron-core"), cluster, work, fixed, 1);
  ASSERT_FALSE(found.best.empty());
  const double seconds = found.best.front().seconds;
  std::printf("deepseek-v3 on 1024 H100, %s: predicted %.1f, measured 52.0 s (%+.1f %%)\n",
              found.best.front().layout.text().c_str(), seconds, 100 * (seconds / 52.04 - 1));
  EXPECT_NEAR(seconds / 52.04, 1, 0.25);
}

}  // namespace
}  // namespace shoal::planning
