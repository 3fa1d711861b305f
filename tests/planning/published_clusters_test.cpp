// Training throughput of many GPUs, as others have published it, with the layouts that they say. Nothing is
// fitted to a row of these tables; docs/planning.md has them with their errors.
#include <vector>

#include "published_rows.hpp"

namespace shoal::planning {
namespace {

// A row of a table that gives seconds of a step.
TrainingRow timed(const char* cluster, const char* model, Layout layout, Index sequence, Index batch,
                  double seconds) {
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

// NVIDIA, dgxc-benchmarking: nemo_megatron/README_175b.md at 0b71cfd, nemotron/README_340b.md at 35a9aec
// and nemotron/README_15b.md at 0b71cfd: NeMo 24.09 and 24.11 on H100, seconds of a step.
std::vector<TrainingRow> nemo_rows(bool fp8) {
  struct Seconds {
    int gpus;
    double bf16, fp8;
  };
  std::vector<TrainingRow> rows;
  const auto add = [&](const char* model, Index sequence, int gpus_a_batch, Index batch, int tp, int pp,
                       int chunks, Index micro, const std::vector<Seconds>& table) {
    for (const Seconds& each : table) {
      rows.push_back(timed("h100-ib", model, as_nemo(each.gpus, tp, pp, chunks, micro), sequence,
                           each.gpus / gpus_a_batch * batch, fp8 ? each.fp8 : each.bf16));
    }
  };
  add("gpt-3-175b", 2048, 128, 256, 4, 8, 12, 1,
      {{128, 8.309, 5.626}, {256, 8.408, 5.725}, {512, 8.42, 5.774}, {1024, 8.453, 5.82}, {2048, 8.49, 5.96}});
  add("nemotron-4-340b", 4096, 128, 32, 8, 8, 12, 1,
      {{128, 4.61, 3.16}, {256, 4.67, 3.21}, {512, 4.70, 3.26}, {1024, 4.73, 3.34}, {2048, 4.84, 3.49}});
  add("nemotron-4-15b", 4096, 16, 64, 4, 1, 1, 4,
      {{16, 2.83, 2.08}, {64, 2.86, 2.09}, {256, 2.88, 2.10}, {1024, 2.92, 2.12}, {2048, 2.96, 2.18}});
  return rows;
}

TEST(PublishedClusters, NemoInBf16) {
  EXPECT_LT(middle_of(errors_of(nemo_rows(false), "megatron-core", "bf16")), 0.15);
}

TEST(PublishedClusters, NemoInFp8) {
  EXPECT_LT(middle_of(errors_of(nemo_rows(true), "megatron-core", "fp8")), 0.15);
}

// NVIDIA 2024, Nemotron-4 340B technical report, table 2: seconds of an iteration; Parmar et al. 2024,
// Nemotron-4 15B technical report, table 2.
TEST(PublishedClusters, Nemotron) {
  const auto row = [](const char* model, int gpus, int tp, int pp, int chunks, Index batch, double seconds) {
    return timed("h100-ib", model, as_nemo(gpus, tp, pp, chunks, 1), 4096, batch, seconds);
  };
  const std::vector<double> errors =
      errors_of({row("nemotron-4-340b", 1536, 8, 12, 8, 768, 10.3),
                 row("nemotron-4-340b", 3072, 8, 12, 8, 1536, 10.4),
                 row("nemotron-4-340b", 6144, 8, 12, 8, 2304, 8.0)},
                "megatron-core", "bf16");
  EXPECT_LT(middle_of(errors), 0.15);
}

// Smith et al. 2022 (Megatron-Turing NLG 530B), section 2.4: 280, 350 and 420 nodes of 8 A100; seconds of
// an iteration of 1920 sequences.
TEST(PublishedClusters, MegatronTuring) {
  const auto row = [](int gpus, double seconds) {
    Layout layout = divided(gpus, 8, 35, 1, 1);
    layout.recompute = Recompute::full;
    return timed("a100-ib", "megatron-529.6b", layout, 2048, 1920, seconds);
  };
  const std::vector<double> errors =
      errors_of({row(2240, 60.1), row(2800, 50.2), row(3360, 44.4)}, "megatron-2021", "bf16");
  EXPECT_LT(middle_of(errors), 0.15);
}

// Jiang et al. 2024 (MegaScale), table 2: Megatron-LM with 175 B parameters on A100. What they add to it (their
// table 3), it has not: fused attention, and gradients that travel beside the backward pass.
TEST(PublishedClusters, MegaScalesBaseline) {
  const auto row = [](int gpus, Index batch, double seconds) {
    Layout layout = divided(gpus, 8, 8, 6, 1);
    layout.sequence_parallel = true;
    layout.recompute = Recompute::selective;
    return timed("a100-ib", "gpt-3-175b", layout, 2048, batch, seconds);
  };
  const std::vector<double> errors =
      errors_of({row(256, 768, 40.0), row(512, 768, 21.2), row(768, 768, 15.2), row(1024, 768, 11.9),
                 row(3072, 6144, 29.02), row(6144, 6144, 14.78), row(8192, 6144, 12.24),
                 row(12288, 6144, 8.57)},
                "megatron-2022", "bf16");
  EXPECT_LT(middle_of(errors), 0.15);
}

}  // namespace
}  // namespace shoal::planning
