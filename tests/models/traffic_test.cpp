// Laws: with gradients or weights that travel in bf16 training is deterministic and learns the same, up to
// that rounding; weights are kept in fp32 by who updates them, and so are checkpoints.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/models/trainer.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/error.hpp>
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

TrainOptions short_run(const Dataset& data) {
  TrainOptions options = small_run(data);
  options.model.bias = true;
  options.grad_accum = 2;
  options.max_iters = 8;
  options.eval_interval = 4;
  options.optimizer.clip = 0.5f;
  return options;
}

// A sum over N ranks is off by N + 1 roundings of 2^-8 of its terms at most, those of the products in bf16
// are as many for each. By so much of itself a step changes, and so does the loss of what a step changes.
double tolerance(const MeshShape& mesh) { return 2 * (mesh.size_of("dp") + 1) * 0x1p-8; }

TEST(Traffic, GradientsInBf16LearnTheSame) {
  const Dataset data = small_data();
  TrainOptions options = short_run(data);
  for (const bool sharded : {false, true}) {
    options.savings.shard_optimizer = sharded;
    for (const MeshShape& shape : meshes(world().size())) {
      const Mesh mesh(world(), shape);
      options.traffic = {};
      const testing::Log expected = train(options, mesh, data);
      options.traffic.gradients = DType::bf16;
      const testing::Log got = train(options, mesh, data);
      const testing::Log again = train(options, mesh, data);
      EXPECT_EQ(again.losses, got.losses) << "deterministic, on " << shape.text();
      expect_close(got.losses, expected.losses, tolerance(shape), "losses on " + shape.text());
      expect_close(got.validation_losses, expected.validation_losses, tolerance(shape),
                   "validation on " + shape.text());
      // Where nothing travels nothing is rounded; elsewhere it is.
      EXPECT_EQ(got.losses == expected.losses, shape.size_of("dp") == 1) << shape.text();
      EXPECT_LT(expected.losses.back(), 0.95 * expected.losses.front()) << "it has learnt something";
    }
  }
}

TEST(Traffic, WeightsInBf16AreTheSameEverywhereAndKeptInFull) {
  const Dataset data = small_data();
  TrainOptions options = short_run(data);
  options.model.precision = kernels::Precision::bf16;
  options.savings.shard_optimizer = true;
  for (const MeshShape& shape : meshes(world().size())) {
    const Mesh mesh(world(), shape);
    options.traffic = {};
    const testing::Log expected = train(options, mesh, data);
    options.traffic = {DType::bf16, DType::bf16};
    Trainer trainer(options, mesh, data);
    const testing::Log got = train(trainer);
    EXPECT_EQ(train(options, mesh, data).losses, got.losses) << "deterministic, on " << shape.text();
    expect_close(got.losses, expected.losses, tolerance(shape), "losses on " + shape.text());

    Gpt& model = trainer.model();
    if (mesh.axis("dp").size() == 1) {
      EXPECT_TRUE(model.masters().empty());
      continue;
    }
    std::vector<float> first(model.parameters().begin(), model.parameters().end());
    broadcast(mesh.axis("dp"), first.data(), static_cast<Index>(first.size()), DType::f32, 0);
    Index differ = 0, coarse = 0;
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (model.parameters()[i] != first[i]) ++differ;
    }
    EXPECT_EQ(differ, 0) << "all replicas compute with the same, on " << shape.text();
    auto master = model.masters().begin();
    for (const Block& range : model.owned()) {
      for (Index i = range.begin; i < range.end(); ++i, ++master) {
        const float rounded = to_float(to_bfloat16(*master));
        ASSERT_EQ(model.parameters()[static_cast<std::size_t>(i)], rounded);
        if (*master == rounded) ++coarse;
      }
    }
    // One number in 2^16 would be by chance; zeros that nothing has moved, and gaps, are.
    EXPECT_LT(coarse, static_cast<Index>(model.masters().size()) / 10);
  }
}

TEST(Traffic, CheckpointsHoldTheWeightsInFull) {
  const Dataset data = small_data();
  TrainOptions options = short_run(data);
  options.eval_interval = 0;
  options.model.precision = kernels::Precision::bf16;
  options.savings.shard_optimizer = true;
  options.traffic = {DType::bf16, DType::bf16};
  for (const MeshShape& shape : meshes(world().size())) {
    const Mesh mesh(world(), shape);
    const SharedFolder folder;
    options.max_iters = 8;
    options.out_dir.clear();
    const std::vector<double> unbroken = train(options, mesh, data).losses;
    options.max_iters = 4;
    options.out_dir = folder.path();
    train(options, mesh, data);
    if (world().rank() == 0) {
      EXPECT_EQ(verify_checkpoint(checkpoint_folders(folder.path()).front()),
                std::vector<std::string>{});
    }
    TrainOptions later = options;
    later.max_iters = 8;
    later.out_dir.clear();
    const auto go_on = [&](const Mesh& on) {
      Trainer trainer(later, on, data, ModelCheckpoint::open(world(), folder.path()));
      return train(trainer).losses;
    };
    const std::vector<double> expected(unbroken.begin() + 4, unbroken.end());
    EXPECT_EQ(go_on(mesh), expected) << "bit by bit, on " << shape.text();
    later.traffic = {};  // by who knows nothing of it
    for (const MeshShape& other : meshes(world().size())) {
      expect_close(go_on(Mesh(world(), other)), expected,
                   tolerance(shape) + tolerance(other), shape.text() + " to " + other.text());
    }
  }
}

TEST(Traffic, RefusesWhatMakesNoSense) {
  const Dataset data = small_data();
  TrainOptions options = short_run(data);
  const MeshShape mesh{{{"dp", 2}}};
  options.traffic.gradients = DType::f64;
  EXPECT_THROW(check(options, mesh), UsageError);
  options.traffic = {DType::f32, DType::bf16};
  options.savings.shard_optimizer = true;
  EXPECT_THROW(check(options, mesh), UsageError) << "products in fp32 take all of a weight";
  options.model.precision = kernels::Precision::bf16;
  EXPECT_NO_THROW(check(options, mesh));
  options.savings.shard_optimizer = false;
  EXPECT_THROW(check(options, mesh), UsageError) << "nothing is gathered";
}

}  // namespace
}  // namespace shoal::models
