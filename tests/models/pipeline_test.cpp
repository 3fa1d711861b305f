// Laws: a Gpt in stages has the weights, the losses, the gradients and the updates of the Gpt on
// one rank, whatever the micro-batches, the layers and the other axes; and it computes the same
// with recomputation and a divided optimizer, over checkpoints, and for the scores of the next
// token.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/models/model_checkpoint.hpp>
#include <shoal/models/optimizer.hpp>
#include <shoal/models/stage.hpp>
#include <shoal/models/trainer.hpp>
#include <shoal/runtime/error.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "trainer_setup.hpp"

namespace shoal::models {
namespace {

using shoal::testing::generator;
using shoal::testing::seed;
using shoal::testing::world;
using testing::expect_close;
using testing::pipelines;
using testing::SharedFolder;
using testing::small_data;
using testing::small_run;
using testing::train;

constexpr Index time = 11;  // rows that divide over few numbers of ranks
constexpr double fp32_tolerance = 1e-4;  // of training, as in trainer_test.cpp

GptConfig form(Index layers) {
  GptConfig config;
  config.vocabulary = 67;  // divides over no number of ranks but one
  config.block_size = 16;
  config.layers = layers;
  config.heads = 4;
  config.width = 32;
  config.dropout = 0.2f;
  return config;
}

// Micro-batches of `sequences` random sequences each, the same on all ranks.
class MicroBatches {
 public:
  MicroBatches(Index vocabulary, Index count, Index sequences) : sequences_(sequences) {
    auto random = generator(static_cast<std::uint64_t>(count));
    std::uniform_int_distribution<std::int32_t> any(0, static_cast<std::int32_t>(vocabulary - 1));
    for (Index i = 0; i < count * sequences * time; ++i) {
      inputs_.push_back(any(random));
      targets_.push_back(any(random));
    }
    count_ = count;
  }

  std::vector<TokenBatch> share_of(const Mesh& mesh) const {
    const Communicator& dp = mesh.axis("dp");
    const Block mine = block_of(sequences_, dp.size(), dp.rank());
    std::vector<TokenBatch> batches;
    for (Index i = 0; i < count_; ++i) {
      const Index first = (i * sequences_ + mine.begin) * time;
      batches.push_back(
          {mine.size, time, inputs_.data() + first, targets_.data() + first, mine.begin});
    }
    return batches;
  }

 private:
  Index sequences_, count_ = 0;
  std::vector<std::int32_t> inputs_, targets_;
};

class Alone {
 public:
  Alone() : self_(world().split(world().rank(), 0, "self")), mesh_(self_, MeshShape{}) {}
  const Mesh& mesh() const { return mesh_; }

 private:
  Communicator self_;
  Mesh mesh_;
};

double sum_over(const Communicator& comm, double value) {
  all_reduce(comm, &value, &value, 1, DType::f64, ReduceOp::sum);
  return value;
}

// Of the global batch: the dp shares on the last stage.
double whole_loss(const Mesh& mesh, double mine) {
  return sum_over(mesh.axis("pp"), sum_over(mesh.axis("dp"), mine));
}

// The largest difference between this rank's blocks of `values` and those of a one-rank model; with
// `relative` that of their vectors, over the length of the latter.
double difference(const Gpt& model, std::span<const float> values, const Gpt& whole,
                  std::span<const float> whole_values, bool relative) {
  std::map<std::string, const Parameter*> by_name;
  for (const Parameter& parameter : whole.parameter_list()) by_name[parameter.name] = &parameter;
  double worst = 0;
  for (const Parameter& parameter : model.parameter_list()) {
    const Parameter& reference = *by_name.at(parameter.name);
    const Shape strides = row_major_strides(parameter.global);
    double squares = 0;
    double length = 0;
    for (Index i = 0; i < parameter.size; ++i) {
      Index rest = i;
      Index global = 0;
      for (int dim = parameter.global.dims() - 1; dim >= 0; --dim) {
        const Block& block = parameter.block[static_cast<std::size_t>(dim)];
        global += (block.begin + rest % block.size) * strides[dim];
        rest /= block.size;
      }
      const double expected = whole_values[static_cast<std::size_t>(reference.offset + global)];
      const double error = values[static_cast<std::size_t>(parameter.offset + i)] - expected;
      if (!relative && !(std::fabs(error) <= worst)) worst = std::fabs(error);
      squares += error * error;
      length += expected * expected;
    }
    if (relative && length > 0 && !(std::sqrt(squares / length) <= worst)) {
      worst = std::sqrt(squares / length);
    }
  }
  return worst;
}

// Names of the parameters of all ranks: each is on the ranks of one stage.
void expect_every_parameter_on_one_stage(const Gpt& model, const Gpt& whole) {
  std::vector<std::int32_t> there(whole.parameter_list().size(), 0);
  for (const Parameter& parameter : model.parameter_list()) {
    EXPECT_EQ(parameter.name,
              whole.parameter_list()[static_cast<std::size_t>(parameter.number)].name);
    there[static_cast<std::size_t>(parameter.number)] = 1;
  }
  all_reduce(model.mesh().axis("pp"), std::span(there), ReduceOp::sum);
  EXPECT_EQ(there, std::vector<std::int32_t>(there.size(), 1));
}

TEST(Pipeline, HasTheLossesAndGradientsOfOneRank) {
  const Alone alone;
  for (const kernels::Precision precision : {kernels::Precision::fp32, kernels::Precision::bf16}) {
    const bool exact = precision == kernels::Precision::fp32;
    for (const MeshShape& shape : pipelines(world().size(), 5)) {
      GptConfig config = form(5);
      config.precision = precision;
      config.bias = shape.size_of("dp") == 1;
      const Mesh mesh(world(), shape);
      for (const auto& [count, by_rows] :
           {std::pair<Index, bool>{1, false}, {2, false}, {5, false}, {1, true}, {3, true}}) {
        if (by_rows && shape.size_of("tp") == 1) continue;
        SCOPED_TRACE(shape.text() + ", " + std::to_string(count) + " micro-batches" +
                     (exact ? ", fp32" : ", bf16") + (by_rows ? ", by rows" : ""));
        const MicroBatches batches(config.vocabulary, count, 5);
        const double scale = 1.0 / static_cast<double>(count * 5 * time);
        Gpt whole(config, alone.mesh(), 42);
        const auto all = batches.share_of(alone.mesh());
        const double expected = whole.accumulate_gradients(all, scale, seed(), 7, true);
        const double expected_eval = whole.loss(all);
        GptConfig unrounded = config;
        unrounded.precision = kernels::Precision::fp32;
        Gpt precise(unrounded, alone.mesh(), 42);
        precise.accumulate_gradients(all, scale, seed(), 7, true);

        Gpt model(config, mesh, 42, {.sequence_parallel = by_rows});
        expect_every_parameter_on_one_stage(model, whole);
        EXPECT_EQ(difference(model, model.parameters(), whole, whole.parameters(), false), 0);
        const auto mine = batches.share_of(mesh);
        // Poison: whatever was there is not to be seen.
        std::fill(model.gradients().begin(), model.gradients().end(), std::nanf(""));
        model.zero_gradients();
        const double loss = model.accumulate_gradients(mine, scale, seed(), 7, true);
        model.reduce_gradients();
        if (!model.stage().last()) {
          EXPECT_EQ(loss, 0);
        }
        // Of fp32, roundings of sums. In bf16 what passes between stages is rounded once more, as
        // all operands of products are: that may cost as much again as those do, twice over for
        // parts.
        const double loss_tolerance = exact ? 1e-5 : 2e-3;
        EXPECT_NEAR(whole_loss(mesh, loss), expected, loss_tolerance * expected);
        EXPECT_NEAR(whole_loss(mesh, model.loss(mine)), expected_eval,
                    loss_tolerance * expected_eval);
        if (exact) {
          EXPECT_LE(difference(model, model.gradients(), whole, whole.gradients(), false), 2e-6);
        } else {
          const double usual =
              difference(whole, whole.gradients(), precise, precise.gradients(), true);
          EXPECT_LE(difference(model, model.gradients(), precise, precise.gradients(), true),
                    4 * usual);
        }
        const Gpt::PipelineTimes& times = model.pipeline_times();
        EXPECT_GE(times.waited.count(), 0);
        EXPECT_LE(times.waited.count(), times.total.count());
      }
    }
  }
}

TEST(Pipeline, StepsAlikeAndClipsByTheWholeNorm) {
  const Alone alone;
  const GptConfig config = form(4);
  const MicroBatches batches(config.vocabulary, 3, 4);
  const double scale = 1.0 / (3 * 4 * time);
  Optimizer::Options adam;
  adam.clip = 0.1f;
  Gpt whole(config, alone.mesh(), 42);
  Optimizer whole_optimizer(whole, adam);
  whole.accumulate_gradients(batches.share_of(alone.mesh()), scale, seed(), 0, true);
  const double expected = whole_optimizer.step(1e-3f);
  ASSERT_GT(expected, adam.clip);
  for (const MeshShape& shape : pipelines(world().size(), 4)) {
    for (const bool sharded : {false, true}) {
      SCOPED_TRACE(shape.text() + (sharded ? ", ZeRO-1" : ""));
      const Mesh mesh(world(), shape);
      if (shape.size_of("dp") > 4) continue;
      Gpt model(config, mesh, 42, {.shard_optimizer = sharded});
      Optimizer optimizer(model, adam);
      model.accumulate_gradients(batches.share_of(mesh), scale, seed(), 0, true);
      model.reduce_gradients();
      double norm = optimizer.step(1e-3f);
      EXPECT_NEAR(norm, expected, 1e-4 * expected);
      double lowest = norm;
      all_reduce(world(), &norm, &norm, 1, DType::f64, ReduceOp::max);
      all_reduce(world(), &lowest, &lowest, 1, DType::f64, ReduceOp::min);
      EXPECT_EQ(lowest, norm) << "all clip alike, to the last bit";
      // Adam's first step is ±learning rate wherever the gradient is not tiny.
      EXPECT_LE(difference(model, model.parameters(), whole, whole.parameters(), false), 2.1e-3);
    }
  }
}

TEST(Pipeline, LearnsWhatOneRankLearns) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  options.model.layers = 3;
  options.model.dropout = 0.1f;
  options.grad_accum = 3;
  options.max_iters = 6;
  options.eval_interval = 4;
  options.optimizer.clip = 0.5f;  // so that the norm matters
  const Alone alone;
  for (const kernels::Precision precision : {kernels::Precision::fp32, kernels::Precision::bf16}) {
    options.model.precision = precision;
    options.savings = {};
    // A rounding to bf16 that falls the other way, 2^-9, is one of thousands in a loss.
    const double tolerance = precision == kernels::Precision::fp32 ? fp32_tolerance : 1e-2;
    const testing::Log expected = train(options, alone.mesh(), data);
    for (const MeshShape& shape : pipelines(world().size(), 3)) {
      const Mesh mesh(world(), shape);
      options.savings = {};
      const testing::Log got = train(options, mesh, data);
      expect_close(got.losses, expected.losses, tolerance, "losses on " + shape.text());
      expect_close(got.validation_losses, expected.validation_losses, tolerance,
                   "validation on " + shape.text());
      options.savings.recompute = true;
      EXPECT_EQ(train(options, mesh, data).losses, got.losses) << shape.text() << ", recomputed";
      options.savings.shard_optimizer = true;
      expect_close(train(options, mesh, data).losses, got.losses,
                   precision == kernels::Precision::fp32 ? fp32_tolerance : 1e-2,
                   "ZeRO-1 on " + shape.text());
      if (shape.size_of("tp") == 1) continue;
      options.savings.sequence_parallel = true;
      expect_close(train(options, mesh, data).losses, expected.losses, tolerance,
                   "all savings on " + shape.text());
    }
  }
}

TEST(Pipeline, CheckpointsGoOnOnAnyMesh) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  options.model.layers = 3;
  options.grad_accum = 2;
  std::vector<MeshShape> shapes = pipelines(world().size(), 3);
  if (shapes.empty()) GTEST_SKIP() << "no stages";
  const std::vector<MeshShape> without = testing::meshes(world().size());
  const MeshShape from = shapes.back();
  shapes.erase(shapes.begin() + 1, shapes.end());  // one other and those without stages
  shapes.insert(shapes.end(), without.begin(), without.end());
  for (const bool sharded : {false, true}) {
    options.savings.shard_optimizer = sharded;
    options.out_dir.clear();
    options.max_iters = 7;
    const Mesh mesh(world(), from);
    const std::vector<double> unbroken = train(options, mesh, data).losses;
    const std::vector<double> expected(unbroken.begin() + 4, unbroken.end());
    const auto go_on = [&](const MeshShape& shape, const SharedFolder& folder) {
      const Mesh other(world(), shape);
      options.out_dir.clear();
      options.max_iters = 7;
      Trainer trainer(options, other, data, ModelCheckpoint::open(world(), folder.path()));
      return train(trainer).losses;
    };
    const auto save_on = [&](const MeshShape& shape, const SharedFolder& folder) {
      const Mesh other(world(), shape);
      options.max_iters = 4;
      options.out_dir = folder.path();
      train(options, other, data);
      if (world().rank() == 0) {
        EXPECT_EQ(verify_checkpoint(checkpoint_folders(folder.path()).front()),
                  std::vector<std::string>{});
      }
    };
    {
      const SharedFolder folder;
      save_on(from, folder);
      EXPECT_EQ(go_on(from, folder), expected) << "bit by bit, on the same mesh";
      for (const MeshShape& shape : shapes) {
        if (shape.text() == from.text()) continue;
        expect_close(go_on(shape, folder), expected, fp32_tolerance,
                     from.text() + " to " + shape.text());
      }
    }
    const SharedFolder folder;
    save_on(without.back(), folder);
    expect_close(go_on(from, folder), expected, fp32_tolerance,
                 without.back().text() + " to " + from.text());
  }
}

TEST(Pipeline, NextTokenScoresAreWholeOnEveryRank) {
  const Alone alone;
  GptConfig config = form(4);
  config.dropout = 0;
  const MicroBatches batches(config.vocabulary, 1, 3);
  Gpt whole(config, alone.mesh(), 42);
  TokenBatch batch = batches.share_of(alone.mesh()).front();
  std::vector<float> expected(static_cast<std::size_t>(3 * config.vocabulary));
  whole.next_token_logits(batch, expected);
  for (const MeshShape& shape : pipelines(world().size(), 4)) {
    const Mesh mesh(world(), shape);
    for (const bool by_rows : {false, true}) {
      Gpt model(config, mesh, 42, {.sequence_parallel = by_rows});
      std::vector<float> logits(expected.size(), std::nanf(""));
      model.next_token_logits(batch, logits);
      for (std::size_t i = 0; i < logits.size(); ++i) {
        ASSERT_NEAR(logits[i], expected[i], 1e-5) << shape.text() << " at " << i;
      }
    }
  }
}

// Sequences of another length, and shares that are empty, between others.
TEST(Pipeline, TakesMicroBatchesOfSeveralSizes) {
  const Alone alone;
  const GptConfig config = form(3);
  std::vector<std::int32_t> tokens(64, 0);
  auto random = generator();
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random() % 67);
  const auto batch = [&](Index sequences, Index length) {
    return TokenBatch{sequences, length, tokens.data(), tokens.data() + 1, 0};
  };
  const std::vector<TokenBatch> batches = {batch(1, 3), batch(0, 12), batch(3, 16), batch(2, 5)};
  Gpt whole(config, alone.mesh(), 42);
  const double expected = whole.accumulate_gradients(batches, 0.01, seed(), 3);
  for (const MeshShape& shape : pipelines(world().size(), 3)) {
    if (shape.size_of("dp") > 1) continue;
    const Mesh mesh(world(), shape);
    Gpt model(config, mesh, 42);
    const double loss = model.accumulate_gradients(batches, 0.01, seed(), 3);
    EXPECT_NEAR(sum_over(mesh.axis("pp"), loss), expected, 1e-5 * expected) << shape.text();
    EXPECT_LE(difference(model, model.gradients(), whole, whole.gradients(), false), 2e-5)
        << shape.text();
  }
}

TEST(Pipeline, RefusesMoreStagesThanLayers) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  options.model.layers = 1;
  EXPECT_THROW(check(options, MeshShape::parse("pp=2")), UsageError);
  if (world().size() == 1) return;
  const Mesh mesh(world(), {{{"pp", world().size()}}});
  EXPECT_THROW(Gpt(options.model, mesh, 1), UsageError);
}

}  // namespace
}  // namespace shoal::models
