// Laws: a Gpt on any mesh has the weights, the loss and the gradients of the Gpt on one rank; its
// gradient is that of its loss.
#include <shoal/models/gpt.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/models/optimizer.hpp>
#include <shoal/runtime/error.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

namespace shoal::testing {
namespace {

using models::Gpt;
using models::GptConfig;
using models::Parameter;
using models::TokenBatch;

constexpr Index sequences = 8;
constexpr Index time = 12;
constexpr std::uint64_t weights_seed = 42;

GptConfig small_config(bool bias, float dropout) {
  GptConfig config;
  config.vocabulary = 67;  // divides over no number of ranks but one
  config.block_size = 16;
  config.layers = 2;
  config.heads = 4;
  config.width = 32;
  config.bias = bias;
  config.dropout = dropout;
  return config;
}

struct Tokens {
  std::vector<std::int32_t> inputs, targets;

  explicit Tokens(Index vocabulary) {
    std::mt19937_64 random = generator();
    std::uniform_int_distribution<std::int32_t> any(0, static_cast<std::int32_t>(vocabulary - 1));
    for (Index i = 0; i < sequences * time; ++i) {
      inputs.push_back(any(random));
      targets.push_back(any(random));
    }
  }

  TokenBatch share_of(const Mesh& mesh) const {
    const Communicator& dp = mesh.axis("dp");
    const Block mine = block_of(sequences, dp.size(), dp.rank());
    return {mine.size, time, inputs.data() + mine.begin * time,
            targets.data() + mine.begin * time, mine.begin};
  }
};

// Element of the whole tensor that the i-th element of this rank's block is.
Index global_index(const Parameter& parameter, Index i) {
  const Shape strides = row_major_strides(parameter.global);
  Index global = 0;
  for (int dim = parameter.global.dims() - 1; dim >= 0; --dim) {
    const Block& block = parameter.block[static_cast<std::size_t>(dim)];
    global += (block.begin + i % block.size) * strides[dim];
    i /= block.size;
  }
  return global;
}

// Compares this rank's blocks of `values` with those of a one-rank model.
void expect_blocks_equal(const Gpt& model, std::span<const float> values, const Gpt& whole,
                         std::span<const float> whole_values, double tolerance) {
  std::map<std::string, const Parameter*> by_name;
  for (const Parameter& parameter : whole.parameter_list()) by_name[parameter.name] = &parameter;
  for (const Parameter& parameter : model.parameter_list()) {
    const Parameter& reference = *by_name.at(parameter.name);
    double worst = 0;
    for (Index i = 0; i < parameter.size; ++i) {
      const double expected =
          whole_values[static_cast<std::size_t>(reference.offset + global_index(parameter, i))];
      const double actual = values[static_cast<std::size_t>(parameter.offset + i)];
      const double error = std::fabs(actual - expected);
      if (!(error <= worst)) worst = error;
    }
    EXPECT_LE(worst, tolerance) << parameter.name;
  }
}

std::vector<MeshShape> meshes() {
  std::vector<MeshShape> all;
  const int size = world().size();
  for (const int tp : {1, 2, 4}) {
    if (size % tp == 0) all.push_back({{{"dp", size / tp}, {"tp", tp}}});
  }
  return all;
}

class GptOnMeshes : public ::testing::TestWithParam<std::tuple<bool, float>> {};

TEST_P(GptOnMeshes, EqualsOneRank) {
  const auto [bias, dropout] = GetParam();
  const GptConfig config = small_config(bias, dropout);
  const Tokens tokens(config.vocabulary);
  const Communicator self = world().split(world().rank(), 0, "self");
  const Mesh one(self, {{{"dp", 1}, {"tp", 1}}});
  Gpt whole(config, one, weights_seed);
  const double scale = 1.0 / static_cast<double>(sequences * time);
  const double whole_loss =
      whole.accumulate_gradients(tokens.share_of(one), scale, seed(), 9);
  const double whole_eval = whole.loss(tokens.share_of(one));
  if (dropout > 0) {
    EXPECT_NE(whole_loss, whole_eval);
  } else {
    EXPECT_NEAR(whole_loss, whole_eval, 1e-9);
  }

  for (const MeshShape& shape : meshes()) {
    SCOPED_TRACE(shape.text());
    const Mesh mesh(world(), shape);
    for (const bool sequence_parallel : {false, true}) {
      models::MemorySavings savings;
      savings.sequence_parallel = sequence_parallel;
      Gpt model(config, mesh, weights_seed, savings);
      expect_blocks_equal(model, model.parameters(), whole, whole.parameters(), 0);
      double loss = model.accumulate_gradients(tokens.share_of(mesh), scale, seed(), 9);
      model.reduce_gradients();
      all_reduce(mesh.axis("dp"), &loss, &loss, 1, DType::f64, ReduceOp::sum);
      EXPECT_NEAR(loss, whole_loss, 1e-5 * std::fabs(whole_loss));
      expect_blocks_equal(model, model.gradients(), whole, whole.gradients(), 2e-6);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(BiasAndDropout, GptOnMeshes,
                         ::testing::Combine(::testing::Bool(), ::testing::Values(0.0f, 0.2f)));

TEST(Gpt, GradientIsThatOfTheLoss) {
  // Along the gradient g, the loss rises by |g|² a unit. Central differences of a loss in single
  // precision are good for three digits.
  const GptConfig config = small_config(true, 0.0f);
  const Tokens tokens(config.vocabulary);
  const Communicator self = world().split(world().rank(), 0, "self");
  const Mesh one(self, {{{"dp", 1}, {"tp", 1}}});
  Gpt model(config, one, weights_seed);
  const TokenBatch batch = tokens.share_of(one);
  model.accumulate_gradients(batch, 1.0, 0, 0);
  for (const Parameter& parameter : model.parameter_list()) {
    float* weights = model.parameters().data() + parameter.offset;
    const float* gradient = model.gradients().data() + parameter.offset;
    double square = 0;
    for (Index i = 0; i < parameter.size; ++i) square += double{gradient[i]} * gradient[i];
    ASSERT_GT(square, 0) << parameter.name;
    const double step = 0.02 / std::sqrt(square);
    const std::vector<float> start(weights, weights + parameter.size);
    const auto loss_at = [&](double distance) {
      for (Index i = 0; i < parameter.size; ++i) {
        weights[i] = static_cast<float>(start[static_cast<std::size_t>(i)] +
                                        distance * double{gradient[i]});
      }
      return model.loss(batch);
    };
    const double slope = (loss_at(step) - loss_at(-step)) / (2 * step);
    std::copy(start.begin(), start.end(), weights);
    EXPECT_NEAR(slope / square, 1.0, 0.02) << parameter.name;
  }
}

TEST(Gpt, ZeroedGradientsAreZeroWhateverWasThere) {
  const GptConfig config = small_config(true, 0.0f);
  const Tokens tokens(config.vocabulary);
  const Communicator self = world().split(world().rank(), 0, "self");
  const Mesh one(self, {{{"dp", 1}, {"tp", 1}}});
  Gpt model(config, one, weights_seed);
  const TokenBatch batch = tokens.share_of(one);
  model.accumulate_gradients(batch, 1.0, 0, 0);
  const std::vector<float> once(model.gradients().begin(), model.gradients().end());

  const auto poison = [&] { std::fill(model.gradients().begin(), model.gradients().end(), NAN); };
  poison();
  model.zero_gradients();
  for (const float value : model.gradients()) ASSERT_EQ(value, 0.0f);
  // A share without sequences adds nothing to zeros.
  poison();
  model.zero_gradients();
  model.accumulate_gradients({0, time, nullptr, nullptr, 0}, 1.0, 0, 0);
  for (const float value : model.gradients()) ASSERT_EQ(value, 0.0f);

  poison();
  model.zero_gradients();
  model.accumulate_gradients(batch, 1.0, 0, 0);
  expect_blocks_equal(model, model.gradients(), model, once, 0);
  model.accumulate_gradients(batch, 1.0, 0, 0);
  std::vector<float> twice = once;
  for (float& value : twice) value *= 2;
  // Roundings of a sum of some hundred terms of size 1.
  expect_blocks_equal(model, model.gradients(), model, twice, 1e-4);
}

TEST(Gpt, NextTokenLogitsAreWholeOnEveryRank) {
  const GptConfig config = small_config(false, 0.0f);
  const Tokens tokens(config.vocabulary);
  const Communicator self = world().split(world().rank(), 0, "self");
  const Mesh one(self, {{{"dp", 1}, {"tp", 1}}});
  Gpt whole(config, one, weights_seed);
  TokenBatch batch = tokens.share_of(one);
  std::vector<float> expected(static_cast<std::size_t>(sequences * config.vocabulary));
  whole.next_token_logits(batch, expected);
  for (const MeshShape& shape : meshes()) {
    const Mesh mesh(world(), shape);
    for (const bool sequence_parallel : {false, true}) {
      models::MemorySavings savings;
      savings.sequence_parallel = sequence_parallel;
      Gpt model(config, mesh, weights_seed, savings);
      std::vector<float> logits(expected.size(), std::nanf(""));
      model.next_token_logits(batch, logits);
      for (std::size_t i = 0; i < logits.size(); ++i) {
        ASSERT_NEAR(logits[i], expected[i], 1e-5) << shape.text() << " at " << i;
      }
    }
  }
}

TEST(Gpt, RefusesWhatCannotBe) {
  const Communicator self = world().split(world().rank(), 0, "self");
  const Mesh one(self, {{{"tp", 1}}});
  const auto refuse = [&](auto&& change) {
    GptConfig config = small_config(true, 0.0f);
    change(config);
    EXPECT_THROW(Gpt(config, one, 1), UsageError);
  };
  refuse([](GptConfig& c) { c.heads = 5; });
  refuse([](GptConfig& c) { c.vocabulary = 0; });
  refuse([](GptConfig& c) { c.layers = 0; });
  refuse([](GptConfig& c) { c.dropout = 1.0f; });
  refuse([](GptConfig& c) { c.dropout = std::nanf(""); });
  refuse([](GptConfig& c) { c.init_std = -0.02f; });
  refuse([](GptConfig& c) { c.init_std = std::nanf(""); });
  GptConfig config = small_config(true, 0.0f);
  EXPECT_THROW(check(config, 3), UsageError);
  Gpt model(config, one, 1);
  const std::vector<std::int32_t> bad(time, 67);
  EXPECT_THROW(model.loss({1, time, bad.data(), bad.data(), 0}), Error);
  const std::vector<std::int32_t> good(17, 1);
  EXPECT_THROW(model.loss({1, 17, good.data(), good.data(), 0}), Error);
}

TEST(Gpt, StartsWithTheDeviationAskedFor) {
  const Communicator self = world().split(world().rank(), 0, "self");
  const Mesh one(self, {{{"tp", 1}}});
  EXPECT_FLOAT_EQ(models::initial_deviation(768), 0.02f);
  for (const float asked : {0.0f, 0.02f}) {
    GptConfig config = small_config(false, 0.0f);
    config.init_std = asked;
    Gpt model(config, one, seed());
    const float deviation = asked > 0 ? asked : models::initial_deviation(config.width);
    for (const Parameter& parameter : model.parameter_list()) {
      if (!parameter.decay) continue;
      const bool residual = parameter.name.find("c_proj") != std::string::npos;
      const double expected = residual ? deviation / std::sqrt(4.0) : deviation;
      double square = 0;
      for (Index i = 0; i < parameter.size; ++i) {
        const double weight = model.parameters()[static_cast<std::size_t>(parameter.offset + i)];
        square += weight * weight;
      }
      // The variance of n normal deviates is off by sqrt(2/n), relative; six of those are never seen.
      const auto n = static_cast<double>(parameter.size);
      EXPECT_NEAR(square / n / (expected * expected), 1.0, 6 * std::sqrt(2 / n)) << parameter.name;
    }
  }
}

TEST(Gpt, CountsItsParameters) {
  GptConfig gpt2;  // the published 124M: 124,439,808 with its vocabulary of 50,257
  gpt2.vocabulary = 50257;
  EXPECT_EQ(parameter_count(gpt2), 124'439'808);
}

TEST(Optimizer, StepsAlikeOnEveryMeshAndSparesWeightsFromNan) {
  const GptConfig config = small_config(true, 0.0f);
  const Tokens tokens(config.vocabulary);
  const Communicator self = world().split(world().rank(), 0, "self");
  const Mesh one(self, {{{"dp", 1}, {"tp", 1}}});
  Gpt whole(config, one, weights_seed);
  models::Optimizer whole_optimizer(whole, {});
  const double scale = 1.0 / static_cast<double>(sequences * time);
  whole.accumulate_gradients(tokens.share_of(one), scale, 0, 0);
  const double whole_norm = whole_optimizer.step(1e-3f);
  for (const MeshShape& shape : meshes()) {
    SCOPED_TRACE(shape.text());
    const Mesh mesh(world(), shape);
    Gpt model(config, mesh, weights_seed);
    models::Optimizer optimizer(model, {});
    model.accumulate_gradients(tokens.share_of(mesh), scale, 0, 0);
    model.reduce_gradients();
    EXPECT_NEAR(optimizer.step(1e-3f), whole_norm, 1e-4 * whole_norm);
    // Adam's first step is ±learning rate wherever the gradient is not tiny, so a gradient that is
    // zero but for rounding may differ by up to twice that.
    expect_blocks_equal(model, model.parameters(), whole, whole.parameters(), 2.1e-3);

    const std::vector<float> before(model.parameters().begin(), model.parameters().end());
    model.gradients()[0] = std::nanf("");
    EXPECT_FALSE(std::isfinite(optimizer.step(1e-3f)));
    EXPECT_TRUE(std::equal(before.begin(), before.end(), model.parameters().begin()));
    EXPECT_EQ(optimizer.steps(), 1);
  }
}

}  // namespace
}  // namespace shoal::testing
