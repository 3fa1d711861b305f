// Laws: recomputation leaves every bit of training as it was; with a sharded optimizer training is
// the same up to the order of sums, as it is with sequence parallelism; its checkpoints are read with and without, on any mesh.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/models/trainer.hpp>
#include <support/world.hpp>

#include "trainer_setup.hpp"

namespace shoal::models {
namespace {

using shoal::testing::world;
using testing::expect_close;
using testing::meshes;
using testing::SharedFolder;
using testing::small_data;
using testing::small_run;
using testing::train;

constexpr double mesh_tolerance = 1e-4;  // as in trainer_test.cpp
constexpr kernels::Precision both[] = {kernels::Precision::fp32, kernels::Precision::bf16};

TrainOptions short_run(const Dataset& data) {
  TrainOptions options = small_run(data);
  options.model.dropout = 0.1f;
  options.model.bias = true;
  options.model.layers = 3;
  options.grad_accum = 2;
  options.max_iters = 10;
  options.eval_interval = 5;
  options.optimizer.clip = 0.5f;  // so that the norm matters
  return options;
}

TEST(MemorySavings, RecomputationLeavesEveryBitAsItWas) {
  const Dataset data = small_data();
  TrainOptions options = short_run(data);
  options.max_iters = 4;
  for (const kernels::Precision precision : both) {
    options.model.precision = precision;
    for (const MeshShape& shape : meshes(world().size())) {
      const Mesh mesh(world(), shape);
      options.savings.recompute = false;
      const testing::Log kept = train(options, mesh, data);
      options.savings.recompute = true;
      const testing::Log made_again = train(options, mesh, data);
      EXPECT_EQ(made_again.losses, kept.losses) << shape.text();
      EXPECT_EQ(made_again.validation_losses, kept.validation_losses) << shape.text();
    }
  }
}

TEST(MemorySavings, AShardedOptimizerLearnsTheSame) {
  const Dataset data = small_data();
  TrainOptions options = short_run(data);
  for (const kernels::Precision precision : both) {
    options.model.precision = precision;
    // A rounding to bf16 that falls the other way, 2^-9, is one of thousands in a loss.
    const double tolerance = precision == kernels::Precision::fp32 ? mesh_tolerance : 2e-3;
    for (const MeshShape& shape : meshes(world().size())) {
      const Mesh mesh(world(), shape);
      options.savings.shard_optimizer = false;
      const testing::Log expected = train(options, mesh, data);
      options.savings.shard_optimizer = true;
      Trainer trainer(options, mesh, data);
      const testing::Log got = train(trainer);
      expect_close(got.losses, expected.losses, tolerance, "losses on " + shape.text());
      expect_close(got.validation_losses, expected.validation_losses, tolerance,
                   "validation on " + shape.text());
      // The parts are all of it, and none is there twice.
      auto mine = static_cast<std::int64_t>(trainer.optimizer().first_moment().size());
      all_reduce(mesh.axis("dp"), &mine, &mine, 1, DType::i64, ReduceOp::sum);
      EXPECT_EQ(mine, static_cast<std::int64_t>(trainer.model().parameters().size()));
    }
  }
}

TEST(MemorySavings, SequenceParallelismLearnsTheSame) {
  const Dataset data = small_data();
  TrainOptions options = short_run(data);
  for (const kernels::Precision precision : both) {
    options.model.precision = precision;
    const double tolerance = precision == kernels::Precision::fp32 ? mesh_tolerance : 2e-3;
    for (const MeshShape& shape : meshes(world().size())) {
      const Mesh mesh(world(), shape);
      options.savings = {};
      const testing::Log expected = train(options, mesh, data);
      options.savings.sequence_parallel = true;
      for (const bool others : {false, true}) {
        options.savings.recompute = options.savings.shard_optimizer = others;
        const testing::Log got = train(options, mesh, data);
        expect_close(got.losses, expected.losses, tolerance, "losses on " + shape.text());
        expect_close(got.validation_losses, expected.validation_losses, tolerance,
                     "validation on " + shape.text());
      }
    }
  }
}

TEST(MemorySavings, CheckpointsAreReadWithAndWithout) {
  const Dataset data = small_data();
  TrainOptions options = short_run(data);
  const auto go_on = [&](bool sharded, const MeshShape& shape, const SharedFolder& folder) {
    const Mesh mesh(world(), shape);
    TrainOptions later = options;
    later.savings.shard_optimizer = sharded;
    later.max_iters = 10;
    later.out_dir.clear();
    Trainer trainer(later, mesh, data, ModelCheckpoint::open(world(), folder.path()));
    return train(trainer).losses;
  };
  for (const bool sharded : {true, false}) {
    for (const MeshShape& shape : meshes(world().size())) {
      const Mesh mesh(world(), shape);
      const SharedFolder folder;
      options.savings.shard_optimizer = sharded;
      options.max_iters = 10;
      options.out_dir.clear();
      const std::vector<double> unbroken = train(options, mesh, data).losses;
      options.max_iters = 6;
      options.out_dir = folder.path();
      train(options, mesh, data);
      if (world().rank() == 0) {
        // Every element of every tensor is there once.
        EXPECT_EQ(verify_checkpoint(checkpoint_folders(folder.path()).front()),
                  std::vector<std::string>{});
      }
      const std::vector<double> expected(unbroken.begin() + 6, unbroken.end());
      EXPECT_EQ(go_on(sharded, shape, folder), expected) << "bit by bit, on the same mesh";
      for (const MeshShape& other : meshes(world().size())) {
        expect_close(go_on(!sharded, other, folder), expected, mesh_tolerance,
                     shape.text() + " to " + other.text());
      }
    }
  }
}

}  // namespace
}  // namespace shoal::models
