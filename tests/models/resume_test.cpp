// Checkpoints of a training run: going on, and what is kept when things go wrong.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <shoal/collectives/barrier.hpp>
#include <shoal/models/model_checkpoint.hpp>
#include <shoal/models/trainer.hpp>
#include <shoal/runtime/error.hpp>
#include <support/world.hpp>

#include "trainer_setup.hpp"

namespace shoal::models {
namespace {

namespace fs = std::filesystem;
using shoal::testing::world;
using testing::expect_close;
using testing::Log;
using testing::meshes;
using testing::SharedFolder;
using testing::small_data;
using testing::small_run;
using testing::train;

Log resume(const TrainOptions& options, const Mesh& mesh, const Dataset& data) {
  const ModelCheckpoint checkpoint = ModelCheckpoint::open(world(), options.out_dir);
  Trainer trainer(options, mesh, data, checkpoint);
  return train(trainer);
}

std::vector<double> last(const std::vector<double>& values, std::size_t count) {
  return {values.end() - static_cast<std::ptrdiff_t>(count), values.end()};
}

// Old checkpoints go when the new one is complete, which other ranks need not wait for.
std::vector<std::int64_t> steps_in(const fs::path& root) {
  barrier(world());
  return complete_checkpoints(root);
}

TEST(Resume, GoesOnAsIfNothingHadHappened) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  options.model.dropout = 0.1f;
  options.max_iters = 20;
  const Mesh mesh(world(), meshes(world().size()).back());
  const std::vector<double> unbroken = train(options, mesh, data).losses;

  for (const MeshShape& shape : meshes(world().size())) {
    const SharedFolder folder;
    options.out_dir = folder.path();
    options.max_iters = 12;
    train(options, mesh, data);
    options.max_iters = 20;
    const Mesh other(world(), shape);
    const std::vector<double> resumed = resume(options, other, data).losses;
    if (shape.text() == mesh.shape().text()) {
      EXPECT_EQ(resumed, last(unbroken, 8)) << "bit by bit, on the same mesh";
    } else {
      expect_close(resumed, last(unbroken, 8), 1e-4, mesh.shape().text() + " to " + shape.text());
    }
    options.out_dir.clear();
  }
}

TEST(Resume, OneRankGoesOnWhereManyStopped) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  options.max_iters = 15;
  const Mesh mesh(world(), meshes(world().size()).back());
  const std::vector<double> unbroken = train(options, mesh, data).losses;
  const SharedFolder folder;
  options.out_dir = folder.path();
  options.max_iters = 10;
  train(options, mesh, data);

  const Communicator self = world().split(world().rank(), 0, "self");
  const Mesh alone(self, MeshShape{});
  const ModelCheckpoint checkpoint = ModelCheckpoint::open(self, folder.path());
  EXPECT_EQ(checkpoint.step(), 10);
  options.out_dir.clear();
  options.max_iters = 15;
  Trainer trainer(options, alone, data, checkpoint);
  expect_close(train(trainer).losses, last(unbroken, 5), 1e-4, "on one rank");
}

TEST(Resume, CheckpointsComeAtIntervalsAndGoWhenOld) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  const SharedFolder folder;
  options.out_dir = folder.path();
  options.max_iters = 10;
  options.checkpoint_interval = 3;
  options.keep_checkpoints = 3;
  const Mesh mesh(world(), meshes(world().size()).front());
  train(options, mesh, data);
  EXPECT_EQ(steps_in(folder.path()), (std::vector<std::int64_t>{6, 9, 10}));
}

TEST(Resume, AnEarlierRunIsNotOverwritten) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  const SharedFolder folder;
  options.out_dir = folder.path();
  options.max_iters = 2;
  const Mesh mesh(world(), meshes(world().size()).front());
  train(options, mesh, data);
  EXPECT_THROW(Trainer(options, mesh, data), UsageError);
  EXPECT_EQ(steps_in(folder.path()), (std::vector<std::int64_t>{2}));
}

TEST(Resume, AnotherModelIsRefused) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  const SharedFolder folder;
  options.out_dir = folder.path();
  options.max_iters = 2;
  const Mesh mesh(world(), meshes(world().size()).front());
  train(options, mesh, data);
  barrier(world());
  TrainOptions other = options;
  other.model.layers = 3;
  EXPECT_THROW(resume(other, mesh, data), UsageError);
  const Dataset other_data(Tokenizer::ids(data.tokenizer().vocabulary()),
                           std::vector<std::uint16_t>(100, 1), std::vector<std::uint16_t>(100, 1),
                           data.block_size());
  EXPECT_THROW(resume(options, mesh, other_data), UsageError);
}

TEST(Resume, ADivergingRunStopsAndKeepsTheLastGoodCheckpoint) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  const SharedFolder folder;
  options.out_dir = folder.path();
  options.max_iters = 3;
  options.checkpoint_interval = 1;
  options.keep_checkpoints = 1;
  const Mesh mesh(world(), meshes(world().size()).back());
  const Log before = train(options, mesh, data);
  barrier(world());

  options.max_iters = 20;
  options.learning_rate = {3e38, 3e38, 0, 1, false};
  const ModelCheckpoint checkpoint = ModelCheckpoint::open(world(), folder.path());
  Trainer trainer(options, mesh, data, checkpoint);
  try {
    trainer.run({});
    FAIL() << "weights of 3e38 and a finite loss";
  } catch (const UsageError&) {
    FAIL() << "not the user's input is at fault";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("at step 4 is"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("of step 3"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find(folder.path().string()), std::string::npos);
  }
  EXPECT_EQ(steps_in(folder.path()), (std::vector<std::int64_t>{3}));
}

TEST(Resume, AFailedSaveIsTriedAgainAtTheNextInterval) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  const SharedFolder folder;
  options.out_dir = folder.path() / "out";
  options.max_iters = 8;
  options.checkpoint_interval = 2;
  const Mesh mesh(world(), meshes(world().size()).front());
  Trainer trainer(options, mesh, data);
  Trainer::Callbacks callbacks;
  // The folder goes before the first save and comes back after it: no file is being written then.
  callbacks.on_step = [&](const StepReport& report) {
    barrier(world());
    if (world().rank() == 0 && report.step == 0) {
      fs::rename(options.out_dir, folder.path() / "away");
      std::ofstream(options.out_dir) << "in the way";
    }
    if (world().rank() == 0 && report.step == 2) {
      fs::remove(options.out_dir);
      fs::rename(folder.path() / "away", options.out_dir);
    }
    barrier(world());
  };
  const Trainer::Result result = trainer.run(callbacks);
  EXPECT_EQ(result.steps, 8);
  EXPECT_EQ(result.saves, 3) << "4, 6 and 8";
  EXPECT_EQ(steps_in(options.out_dir), (std::vector<std::int64_t>{6, 8}));
}

TEST(Resume, AFailureToSaveTheEndIsAnError) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  const SharedFolder folder;
  options.out_dir = folder.path() / "out";
  options.max_iters = 3;
  options.checkpoint_interval = 0;
  const Mesh mesh(world(), meshes(world().size()).front());
  Trainer trainer(options, mesh, data);
  Trainer::Callbacks callbacks;
  callbacks.on_step = [&](const StepReport& report) {
    barrier(world());
    if (world().rank() == 0 && report.step == 2) {
      fs::remove(options.out_dir);
      std::ofstream(options.out_dir) << "in the way";
    }
    barrier(world());
  };
  EXPECT_THROW(trainer.run(callbacks), Error);
}

}  // namespace
}  // namespace shoal::models
