// Training throughput that others have published and nothing was fitted to: whole tables, with the
// rows that say what the model needs to know. docs/planning.md has them with their errors.
#include <cstdio>
#include <vector>

#include <gtest/gtest.h>
#include <shoal/planning/search.hpp>

#include "published_rows.hpp"

namespace shoal::planning {
namespace {

TrainingRow sharded(const char* cluster, const char* model, int gpus, Index micro, Index steps,
                    bool recompute, double tokens) {
  Layout layout;
  layout.dp = gpus;
  layout.micro_batch = micro;
  layout.zero = 3;
  if (recompute) layout.recompute = Recompute::full;
  return {cluster, model, 2048, gpus * micro * steps, layout, tokens, "bf16", {}};
}

// Composer's mixed precision PURE.
TrainingRow pure(TrainingRow row) {
  row.reduced = "bf16";
  return row;
}

// MosaicML, llm-foundry's scripts/train/benchmarking/README.md at 061f2c7: MPT by PyTorch FSDP, bf16;
// all rows of 2048 tokens from 1B parameters on, on 80 GB of memory.
TEST(PublishedTraining, FsdpOnA100) {
  const std::vector<double> errors = errors_of(
      {pure(sharded("a100-ib", "mpt-70b", 64, 8, 4, true, 410)),
       pure(sharded("a100-ib", "mpt-70b", 32, 2, 16, true, 373)),
       sharded("a100-ib", "mpt-30b", 8, 3, 21, true, 916),
       sharded("a100-ib", "mpt-13b", 8, 2, 3, false, 2262),
       sharded("a100-ib", "mpt-7b", 8, 6, 2, false, 4641),
       sharded("a100-ib", "mpt-3b", 8, 10, 2, false, 10811),
       sharded("a100-ib", "mpt-1b", 8, 14, 4, false, 20513)},
      "fsdp", "bf16");
  EXPECT_LT(middle_of(errors), 0.15);
}

TEST(PublishedTraining, FsdpOnH100) {
  const std::vector<double> errors = errors_of(
      {sharded("h100-ib", "mpt-70b", 64, 8, 4, true, 1039),
       sharded("h100-ib", "mpt-70b", 32, 2, 16, true, 882),
       sharded("h100-ib", "mpt-30b", 32, 14, 3, true, 2308),
       sharded("h100-ib", "mpt-30b", 16, 10, 3, true, 2263),
       sharded("h100-ib", "mpt-30b", 8, 3, 21, true, 2002),
       sharded("h100-ib", "mpt-13b", 64, 2, 1, false, 4800),
       sharded("h100-ib", "mpt-13b", 32, 2, 1, false, 4811),
       sharded("h100-ib", "mpt-13b", 16, 2, 1, false, 4767),
       sharded("h100-ib", "mpt-13b", 8, 2, 1, false, 4792),
       sharded("h100-ib", "mpt-7b", 8, 6, 1, false, 10643),
       sharded("h100-ib", "mpt-3b", 64, 6, 3, false, 22525),
       sharded("h100-ib", "mpt-3b", 32, 6, 3, false, 23021),
       sharded("h100-ib", "mpt-3b", 16, 10, 3, false, 24142),
       sharded("h100-ib", "mpt-1b", 64, 20, 1, false, 44402),
       sharded("h100-ib", "mpt-1b", 32, 20, 1, false, 45130),
       sharded("h100-ib", "mpt-1b", 16, 20, 1, false, 46037),
       sharded("h100-ib", "mpt-1b", 8, 14, 1, false, 45455)},
      "fsdp", "bf16");
  EXPECT_LT(middle_of(errors), 0.15);
}

TrainingRow of_length(Index sequence, TrainingRow row) {
  row.sequence = sequence;
  return row;
}

// The same tables' rows of other lengths: nothing of the profile was fitted to them.
TEST(PublishedTraining, FsdpOfOtherLengthsOnA100) {
  const std::vector<double> errors = errors_of(
      {
       of_length(8192, sharded("a100-ib", "mpt-30b", 8, 1, 21, true, 574)),
       of_length(4096, sharded("a100-ib", "mpt-30b", 8, 1, 21, true, 814)),
       of_length(1024, sharded("a100-ib", "mpt-30b", 8, 6, 21, true, 946)),
       of_length(512, sharded("a100-ib", "mpt-30b", 8, 12, 21, true, 967)),
       of_length(32768, sharded("a100-ib", "mpt-13b", 8, 1, 3, true, 1016)),
       of_length(16384, sharded("a100-ib", "mpt-13b", 8, 3, 3, true, 1431)),
       of_length(8192, sharded("a100-ib", "mpt-13b", 8, 5, 3, true, 1795)),
       of_length(4096, sharded("a100-ib", "mpt-13b", 8, 10, 3, true, 2060)),
       of_length(1024, sharded("a100-ib", "mpt-13b", 8, 40, 3, true, 2330)),
       of_length(65536, sharded("a100-ib", "mpt-7b", 8, 1, 2, true, 1013)),
       of_length(32768, sharded("a100-ib", "mpt-7b", 8, 2, 2, true, 1672)),
       of_length(16384, sharded("a100-ib", "mpt-7b", 8, 4, 2, true, 2453)),
       of_length(8192, sharded("a100-ib", "mpt-7b", 8, 8, 2, true, 3206)),
       of_length(4096, sharded("a100-ib", "mpt-7b", 8, 16, 2, true, 3684)),
       of_length(1024, sharded("a100-ib", "mpt-7b", 8, 64, 2, true, 4357)),
       of_length(65536, sharded("a100-ib", "mpt-3b", 8, 1, 2, true, 1767)),
       of_length(32768, sharded("a100-ib", "mpt-3b", 8, 3, 6, true, 3029)),
       of_length(16384, sharded("a100-ib", "mpt-3b", 8, 1, 6, false, 5529)),
       of_length(8192, sharded("a100-ib", "mpt-3b", 8, 3, 6, false, 7695)),
       of_length(4096, sharded("a100-ib", "mpt-3b", 8, 5, 6, false, 9457)),
       of_length(1024, sharded("a100-ib", "mpt-3b", 8, 20, 6, false, 11580)),
       of_length(512, sharded("a100-ib", "mpt-3b", 8, 40, 6, false, 12127)),
       of_length(65536, sharded("a100-ib", "mpt-1b", 8, 1, 2, true, 3044)),
       of_length(32768, sharded("a100-ib", "mpt-1b", 8, 1, 4, false, 6275)),
       of_length(16384, sharded("a100-ib", "mpt-1b", 8, 2, 4, false, 9956)),
       of_length(8192, sharded("a100-ib", "mpt-1b", 8, 3, 4, false, 13814)),
       of_length(4096, sharded("a100-ib", "mpt-1b", 8, 7, 4, false, 17807)),
       of_length(1024, sharded("a100-ib", "mpt-1b", 8, 18, 4, false, 22112)),
       of_length(512, sharded("a100-ib", "mpt-1b", 8, 56, 4, false, 23148))},
      "fsdp", "bf16");
  EXPECT_LT(middle_of(errors), 0.15);
}

TEST(PublishedTraining, FsdpOfOtherLengthsOnH100) {
  const std::vector<double> errors = errors_of(
      {
       of_length(8192, sharded("h100-ib", "mpt-30b", 8, 1, 21, true, 1384)),
       of_length(4096, sharded("h100-ib", "mpt-30b", 8, 1, 21, true, 1802)),
       of_length(1024, sharded("h100-ib", "mpt-30b", 8, 6, 21, true, 2084)),
       of_length(32768, sharded("h100-ib", "mpt-13b", 8, 1, 3, true, 1976)),
       of_length(16384, sharded("h100-ib", "mpt-13b", 8, 3, 3, true, 2985)),
       of_length(4096, sharded("h100-ib", "mpt-13b", 8, 10, 3, true, 4717)),
       of_length(1024, sharded("h100-ib", "mpt-13b", 8, 40, 3, true, 5502)),
       of_length(65536, sharded("h100-ib", "mpt-7b", 8, 1, 2, true, 1956)),
       of_length(32768, sharded("h100-ib", "mpt-7b", 8, 2, 2, true, 3318)),
       of_length(8192, sharded("h100-ib", "mpt-7b", 8, 8, 2, true, 6935)),
       of_length(4096, sharded("h100-ib", "mpt-7b", 8, 16, 2, true, 8611)),
       of_length(1024, sharded("h100-ib", "mpt-7b", 8, 64, 2, true, 10203)),
       of_length(65536, sharded("h100-ib", "mpt-3b", 8, 1, 2, true, 3262)),
       of_length(32768, sharded("h100-ib", "mpt-3b", 8, 3, 6, true, 5873)),
       of_length(16384, sharded("h100-ib", "mpt-3b", 8, 1, 6, false, 11152)),
       of_length(8192, sharded("h100-ib", "mpt-3b", 8, 3, 6, false, 16578)),
       of_length(4096, sharded("h100-ib", "mpt-3b", 8, 5, 6, false, 20964)),
       of_length(1024, sharded("h100-ib", "mpt-3b", 8, 20, 6, false, 27046)),
       of_length(512, sharded("h100-ib", "mpt-3b", 8, 40, 6, false, 27965)),
       of_length(65536, sharded("h100-ib", "mpt-1b", 8, 1, 2, true, 5506)),
       of_length(32768, sharded("h100-ib", "mpt-1b", 8, 1, 4, false, 12025)),
       of_length(16384, sharded("h100-ib", "mpt-1b", 8, 2, 4, false, 19649)),
       of_length(8192, sharded("h100-ib", "mpt-1b", 8, 3, 4, false, 29157)),
       of_length(4096, sharded("h100-ib", "mpt-1b", 8, 7, 4, false, 38535)),
       of_length(1024, sharded("h100-ib", "mpt-1b", 8, 18, 4, false, 48910)),
       of_length(512, sharded("h100-ib", "mpt-1b", 8, 56, 4, false, 52275))},
      "fsdp", "bf16");
  EXPECT_LT(middle_of(errors), 0.15);
}

TrainingRow piped(const char* model, int gpus, Index batch, Index micro, Index sequence, int tp, int pp,
                  int chunks, double tokens) {
  Layout layout;
  layout.tp = tp;
  layout.pp = pp;
  layout.dp = gpus / tp / pp;
  layout.micro_batch = micro;
  layout.interleave = chunks;
  layout.zero = layout.dp > 1 ? 1 : 0;
  layout.sequence_parallel = tp > 1;
  return {"h100-ib", model, sequence, batch, layout, tokens, {}, {}};
}

// NVIDIA, NeMo's docs/source/performance/performance_summary.md at 070a0bb: fp8 on H100, all rows without
// context parallelism whose models are GPT-3 or Llama 2.
TEST(PublishedTraining, NemoFp8) {
  const std::vector<double> errors = errors_of(
      {piped("gpt-3-5b", 64, 2048, 4, 2048, 1, 1, 1, 22521),
       piped("gpt-3-20b", 64, 256, 2, 2048, 2, 1, 1, 5851),
       piped("gpt-3-175b", 128, 256, 1, 2048, 4, 8, 6, 726),
       piped("gpt-3-175b", 512, 2048, 2, 2048, 4, 8, 6, 782),
       piped("llama-2-7b", 8, 128, 1, 4096, 1, 1, 1, 16847),
       piped("llama-2-13b", 16, 128, 1, 4096, 1, 4, 10, 8646),
       piped("llama-2-70b", 64, 128, 1, 4096, 4, 4, 20, 1707)},
      "megatron-core", "fp8");
  EXPECT_LT(middle_of(errors), 0.15);
}

// Grattafiori et al. 2024 (The Llama 3 herd of models), table 4: 405B in bf16, 16 M tokens a step, tp=8, pp=16, without
// context parallelism. 126 layers do not divide into chunks of one; two stages of theirs have one less, so all have 8.
TEST(PublishedTraining, Llama3) {
  struct Row {
    int dp;
    double teraflops;
  };
  Cluster cluster = find_cluster("h100-ib");
  cluster.nodes = 2048;
  cluster.device.memory_bytes.value = 1e15;
  Model model = find_model("llama-3-405b");
  model.layers = 128;
  Workload work;
  work.batch = 2048;
  work.sequence = 8192;
  const Prices prices(cluster);
  for (const Row& row : {Row{64, 430}, Row{128, 400}}) {
    Layout layout;
    layout.dp = row.dp;
    layout.tp = 8;
    layout.pp = 16;
    layout.interleave = 8;
    layout.zero = 1;
    layout.sequence_parallel = true;
    const Estimate made = estimate(model, find_software("megatron-core"), prices, work, layout);
    ASSERT_EQ(made.why_not, "");
    const double predicted = made.flops / made.seconds / layout.ranks() * 1e-12;
    std::printf("llama-3-405b on %d GPUs: predicted %.0f, measured %.0f TFLOP/s (%+.1f %%)\n", layout.ranks(),
                predicted, row.teraflops, 100 * (predicted / row.teraflops - 1));
    EXPECT_NEAR(predicted / row.teraflops, 1, 0.15);
  }
}

}  // namespace
}  // namespace shoal::planning
