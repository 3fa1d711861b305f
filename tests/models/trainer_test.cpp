#include <shoal/models/trainer.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include <shoal/runtime/error.hpp>
#include <support/world.hpp>

#include "trainer_setup.hpp"

namespace shoal::models {
namespace {

using shoal::testing::world;
using testing::expect_close;
using testing::meshes;
using testing::small_data;
using testing::small_run;
using testing::train;

// Rounding differs from mesh to mesh, and training amplifies it; fifty steps stay within this.
constexpr double mesh_tolerance = 1e-4;

class Alone {
 public:
  Alone() : self_(world().split(world().rank(), 0, "self")), mesh_(self_, MeshShape{}) {}
  const Mesh& mesh() const { return mesh_; }

 private:
  Communicator self_;
  Mesh mesh_;
};

void expect_every_mesh_to_learn_like_one_rank(const TrainOptions& options, const Dataset& data) {
  const Alone alone;
  const testing::Log expected = train(options, alone.mesh(), data);
  EXPECT_LT(expected.losses.back(), 0.8 * expected.losses.front()) << "it learns nothing";
  for (const MeshShape& shape : meshes(world().size())) {
    const Mesh mesh(world(), shape);
    const testing::Log got = train(options, mesh, data);
    expect_close(got.losses, expected.losses, mesh_tolerance, "losses on " + shape.text());
    expect_close(got.validation_losses, expected.validation_losses, mesh_tolerance,
                 "validation on " + shape.text());
  }
}

TEST(Trainer, EveryMeshLearnsTheSame) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  options.eval_interval = 20;
  expect_every_mesh_to_learn_like_one_rank(options, data);
}

TEST(Trainer, EveryMeshLearnsTheSameWithDropout) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  options.model.dropout = 0.1f;
  options.model.bias = false;
  expect_every_mesh_to_learn_like_one_rank(options, data);
}

TEST(Trainer, EveryMeshLearnsTheSameWithMicroSteps) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  options.model.dropout = 0.1f;
  options.grad_accum = 3;
  options.max_iters = 20;
  expect_every_mesh_to_learn_like_one_rank(options, data);
}

TEST(Trainer, DropoutMakesADifference) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  options.max_iters = 1;
  const Alone alone;
  const double without = train(options, alone.mesh(), data).losses.front();
  options.model.dropout = 0.5f;
  EXPECT_NE(train(options, alone.mesh(), data).losses.front(), without);
}

// A micro-step is a part of the batch: two of four sequences are as good as one of eight, in the mean
// over random batches; with equal data, exactly (up to rounding).
TEST(Trainer, MicroStepsAddUpToTheBatch) {
  std::vector<std::uint16_t> tokens(17);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::uint16_t>(i % 5);
  const Dataset data(Tokenizer::ids(8), tokens, tokens, 16);  // only one sequence to draw
  TrainOptions whole = small_run(data);
  whole.max_iters = 10;
  TrainOptions parts = whole;
  parts.batch_size = 4;
  parts.grad_accum = 2;
  const Alone alone;
  expect_close(train(parts, alone.mesh(), data).losses, train(whole, alone.mesh(), data).losses,
               mesh_tolerance, "two micro-steps");
}

TEST(Trainer, ReportsWhatItDoes) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  options.model.init_std = 0.005f;  // so small that the first guess is all but even
  options.max_iters = 7;
  options.eval_interval = 3;
  const Mesh mesh(world(), meshes(world().size()).back());
  Trainer trainer(options, mesh, data);
  std::vector<StepReport> reports;
  Trainer::Callbacks callbacks;
  callbacks.on_step = [&](const StepReport& report) { reports.push_back(report); };
  const Trainer::Result result = trainer.run(callbacks);
  EXPECT_EQ(result.steps, 7);
  EXPECT_FALSE(result.stopped);
  ASSERT_EQ(reports.size(), 8u);
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const StepReport& report = reports[i];
    EXPECT_EQ(report.step, static_cast<std::int64_t>(i));
    EXPECT_EQ(report.val_loss.has_value(), i % 3 == 0 || i == 7) << i;
    EXPECT_EQ(report.train_loss.has_value(), report.val_loss.has_value());
    EXPECT_EQ(report.learning_rate, options.learning_rate.at(report.step));
    ASSERT_EQ(report.loss.has_value(), i < 7);
    if (i == 7) continue;
    EXPECT_GT(report.step_ms, 0);
    EXPECT_GT(report.gradient_norm, 0);
    EXPECT_NEAR(report.tokens_per_s, 8 * 16 / (report.step_ms * 1e-3), 1e-6 * report.tokens_per_s);
    EXPECT_NEAR(report.gflops,
                report.tokens_per_s * training_flops_per_token(options.model, 16) * 1e-9,
                1e-6 * report.gflops);
    EXPECT_GE(report.comm_share, 0);
    EXPECT_LE(report.comm_share, 1);
    ASSERT_EQ(report.overlap.has_value(), mesh.axis("dp").size() > 1);
    EXPECT_GE(report.overlap.value_or(0), 0);
    EXPECT_LE(report.overlap.value_or(0), 1);
  }
  EXPECT_NEAR(*reports[0].val_loss, std::log(static_cast<double>(options.model.vocabulary)), 0.1);
}

TEST(Trainer, EvaluationLeavesTheTrainingAlone) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  options.max_iters = 8;
  const Mesh mesh(world(), meshes(world().size()).front());
  const std::vector<double> without = train(options, mesh, data).losses;
  options.eval_interval = 2;
  EXPECT_EQ(train(options, mesh, data).losses, without);
}

TEST(Trainer, AllStopWhenOneIsAsked) {
  const Dataset data = small_data();
  const TrainOptions options = small_run(data);
  const Mesh mesh(world(), meshes(world().size()).back());
  Trainer trainer(options, mesh, data);
  Trainer::Callbacks callbacks;
  callbacks.should_stop = [&] {
    return world().rank() == world().size() - 1 && trainer.step() == 4;
  };
  const Trainer::Result result = trainer.run(callbacks);
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.steps, 5);
}

TEST(Trainer, RefusesWhatCannotBe) {
  const Dataset data = small_data();
  const TrainOptions good = small_run(data);
  const Alone alone;
  const auto refuses = [&](auto&& change) {
    TrainOptions options = good;
    change(options);
    EXPECT_THROW(Trainer(options, alone.mesh(), data), UsageError);
  };
  EXPECT_NO_THROW(Trainer(good, alone.mesh(), data));
  refuses([](TrainOptions& o) { o.batch_size = 0; });
  refuses([](TrainOptions& o) { o.grad_accum = 0; });
  refuses([](TrainOptions& o) { o.max_iters = 0; });
  refuses([](TrainOptions& o) { o.eval_iters = 0; });
  refuses([](TrainOptions& o) { o.eval_interval = -1; });
  refuses([](TrainOptions& o) { o.keep_checkpoints = 0; });
  refuses([](TrainOptions& o) { o.learning_rate.peak = -1; });
  refuses([](TrainOptions& o) { o.learning_rate.peak = std::numeric_limits<double>::quiet_NaN(); });
  refuses([](TrainOptions& o) { o.optimizer.beta2 = 1; });
  refuses([](TrainOptions& o) { o.optimizer.clip = -1; });
  refuses([](TrainOptions& o) { o.model.heads = 5; });
  refuses([](TrainOptions& o) { o.model.dropout = 1; });
  EXPECT_THROW(check(good, MeshShape::parse("dp=9")), UsageError) << "fewer sequences than ranks";
  EXPECT_THROW(check(good, MeshShape::parse("tp=3")), UsageError) << "heads do not divide";
  EXPECT_THROW(check(good, MeshShape::parse("pp=3")), UsageError) << "more stages than layers";
  EXPECT_THROW(check(good, MeshShape{{{"ep", 2}}}), UsageError) << "no such axis";
}

}  // namespace
}  // namespace shoal::models
