// Laws: a run's buffers take what was said before there were any; what the process takes beside them
// is little; a run that does not fit is refused, with what would make it fit.
#include <shoal/models/memory.hpp>

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/memory_left.hpp>
#include <support/world.hpp>

#include "trainer_setup.hpp"

namespace shoal::models {
namespace {

using shoal::testing::world;
using testing::meshes;
using testing::SharedFolder;
using testing::small_data;
using testing::small_run;
using testing::train;

// Private and shared memory of the process that is not pages of a file.
double memory_in_use() {
  std::ifstream status("/proc/self/status");
  double kib = 0;
  for (std::string word; status >> word;) {
    if (word != "RssAnon:" && word != "RssShmem:") continue;
    double value = 0;
    status >> value;
    kib += value;
  }
  return kib * 1024;
}

// What large products pack their operands into stays with each thread, and comes on top of what is
// said (docs/memory.md). The operands here go back to the system.
void take_packing_room() {
  constexpr Index m = 2048, n = 4096, k = 512;
  Buffer<float> a(m * k), b(k * n), c(m * n);
  kernels::gemm(kernels::Trans::no, kernels::Trans::no, m, n, k, 1.0f, a.data(), k, b.data(), n,
                0.0f, c.data(), n);
}

// First, since memory that an earlier run has left behind would be taken again unseen.
TEST(Memory, TheProcessTakesWhatWasSaid) {
  if (world().size() > 1) GTEST_SKIP() << "shared pages count for every rank that has seen them";
  const Dataset data = small_data(128);
  TrainOptions options = small_run(data);
  options.model.layers = 3;
  options.model.heads = 8;
  options.model.width = 512;
  options.max_iters = 1;
  const Mesh mesh(world(), MeshShape{});
  Trainer(small_run(data), mesh, data);  // what the libraries take once
  take_packing_room();
  const double before = memory_in_use();
  Trainer trainer(options, mesh, data);
  train(trainer);
  const double taken = memory_in_use() - before;
  const auto said = static_cast<double>(predict_memory(options, mesh.shape(), 0, 0, false).total());
  // A quarter of a gigabyte. OpenBLAS keeps some 10 MB a thread for packing.
  EXPECT_NEAR(taken / said, 1.0, 0.08) << taken * 1e-6 << " MB taken, " << said * 1e-6 << " said";
}

TEST(Memory, BuffersAreWhatWasSaid) {
  const Dataset data = small_data();
  const SharedFolder folder;
  int run = 0;
  std::vector<MeshShape> shapes = meshes(world().size());
  const std::vector<MeshShape> staged = testing::pipelines(world().size(), 3);
  shapes.insert(shapes.end(), staged.begin(), staged.end());
  for (const MeshShape& shape : shapes) {
    const Mesh mesh(world(), shape);
    for (int variant = 0; variant < 16; ++variant) {
      TrainOptions options = small_run(data);
      options.max_iters = 1;
      options.savings.recompute = (variant & 1) != 0;
      options.savings.shard_optimizer = (variant & 2) != 0;
      options.savings.sequence_parallel = variant % 3 != 1;
      options.model.dropout = (variant & 4) != 0 ? 0.1f : 0.0f;
      options.model.bias = (variant & 8) != 0;
      options.model.layers = 1 + variant % 3;
      if (shape.size_of("pp") > options.model.layers) continue;
      options.grad_accum = 1 + variant % 4;
      options.batch_size = 9;
      options.model.precision =
          (variant & 4) != 0 ? kernels::Precision::bf16 : kernels::Precision::fp32;
      if (variant % 2 == 1) options.traffic.gradients = DType::bf16;
      if ((variant & 6) == 6) options.traffic.weights = DType::bf16;
      if (variant % 4 == 3 || variant == 8) {
        options.out_dir = folder.path() / std::to_string(++run);
        options.max_iters = 3;
        options.checkpoint_interval = 2;
      }
      Trainer trainer(options, mesh, data);
      train(trainer);
      const MemoryUse said =
          predict_memory(options, shape, mesh.coordinate("dp"), mesh.coordinate("tp"),
                         !mesh.axis("dp").on_one_node(), mesh.coordinate("pp"));
      const MemoryUse taken = trainer.memory();
      SCOPED_TRACE(shape.text() + ", variant " + std::to_string(variant));
      EXPECT_EQ(said.parameters, taken.parameters);
      EXPECT_EQ(said.gradients, taken.gradients);
      EXPECT_EQ(said.optimizer, taken.optimizer);
      EXPECT_EQ(said.activations, taken.activations);
      EXPECT_EQ(said.workspace, taken.workspace);
      EXPECT_EQ(said.checkpoint, taken.checkpoint);
      EXPECT_EQ(said.checkpoint > 0, !options.out_dir.empty());
    }
  }
}

TEST(Memory, SavingsSaveWhatTheyShould) {
  TrainOptions options;  // GPT-2 124M
  options.batch_size = 8;
  const MeshShape mesh = MeshShape::parse("dp=4");
  const MemoryUse plain = predict_memory(options, mesh, 0, 0, false);
  options.savings.shard_optimizer = true;
  const MemoryUse sharded = predict_memory(options, mesh, 0, 0, false);
  EXPECT_NEAR(static_cast<double>(sharded.optimizer), static_cast<double>(plain.optimizer) / 4, 64);
  options.savings.recompute = true;
  const MemoryUse both = predict_memory(options, mesh, 0, 0, false);
  EXPECT_EQ(both.optimizer, sharded.optimizer);
  // 12 layers keep 16 widths and more of each row, or their input alone and one layer the rest.
  EXPECT_LT(both.activations, plain.activations / 5);
}

TEST(Memory, SequenceParallelismDividesWhatLiesBetweenTheLayers) {
  TrainOptions options;  // GPT-2 124M
  options.batch_size = 8;
  const MeshShape mesh = MeshShape::parse("tp=4");
  const MemoryUse plain = predict_memory(options, mesh, 0, 0, false);
  options.savings.sequence_parallel = true;
  const MemoryUse divided = predict_memory(options, mesh, 0, 0, false);
  EXPECT_EQ(divided.parameters, plain.parameters);
  // Of each layer's row: the input, both norms and what lies between the branches; four widths of the
  // sixteen and a half that a quarter of heads and MLP leave beside them.
  const double rows = 8.0 * static_cast<double>(options.model.block_size);
  const double saved = 4 * rows * 0.75 * 4 * 12 * static_cast<double>(options.model.width);
  EXPECT_NEAR(static_cast<double>(plain.activations - divided.activations) / saved, 1.0, 0.05);
}

TEST(Memory, RefusesWhatCannotFitAndSaysWhatWould) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  const Mesh mesh(world(), MeshShape{{{"dp", world().size()}}});
  EXPECT_TRUE(forecast_memory(options, mesh).fits());

  // A batch that takes more than all nodes have: half of it, and half of that, may not.
  options.batch_size = world().size();
  const Bytes each = predict_memory(options, mesh.shape(), 0, 0, false).activations;
  Bytes sequences = 1;
  while (sequences * each < memory_left().bytes) sequences *= 2;
  const auto refusal = [&] {
    try {
      Trainer(options, mesh, data);
    } catch (const UsageError& error) {
      return error.message();
    }
    return std::string("not refused");
  };
  options.batch_size = static_cast<Index>(2 * sequences) * world().size();
  const std::string text = refusal();
  EXPECT_NE(text.find(" activations"), std::string::npos) << text;
  EXPECT_NE(text.find("pass --batch-size "), std::string::npos) << text;

  // One copy of the model fits, one for each rank does not: stages have a part of it each. One head
  // is nothing for tp.
  if (world().size() > 1) {
    options = small_run(data);
    options.model.width = 1024;
    options.model.heads = 1;
    options.batch_size = world().size();
    options.model.layers = 1;
    const Bytes first = predict_memory(options, MeshShape{}, 0, 0, false).total();
    options.model.layers = 2;
    const Bytes layer = predict_memory(options, MeshShape{}, 0, 0, false).total() - first;
    const Bytes left = forecast_memory(options, mesh).left;  // as all ranks see it
    options.model.layers =
        static_cast<Index>(0.7 * static_cast<double>(left) / static_cast<double>(layer));
    const std::string stages = "--mesh pp=" + std::to_string(world().size()) + ",dp=1,tp=1";
    const std::string message = refusal();
    EXPECT_NE(message.find(mesh.all().on_one_node() ? stages : "--mesh pp="), std::string::npos)
        << message;
  }

  // No batch makes a model of 5 TB fit.
  options = small_run(data);
  options.model.width = 1 << 14;
  options.model.layers = 100;
  EXPECT_NE(refusal().find("a smaller model"), std::string::npos) << refusal();
}

}  // namespace
}  // namespace shoal::models
