#include <shoal/models/generate.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include <shoal/models/model_checkpoint.hpp>
#include <shoal/models/trainer.hpp>
#include <shoal/runtime/error.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "trainer_setup.hpp"

namespace shoal::models {
namespace {

using shoal::testing::world;
using testing::meshes;
using testing::SharedFolder;
using testing::small_data;
using testing::small_run;

TEST(Sample, WithoutTemperatureIsTheLikeliest) {
  EXPECT_EQ(sample(std::vector<float>{0, 3, 3, 1}, 0, 0, 0.99), 1);
  EXPECT_EQ(sample(std::vector<float>{-5}, 0, 0, 0.5), 0);
}

TEST(Sample, TopKLeavesOutTheRest) {
  const std::vector<float> logits = {1, 5, 2, 4, 3};
  for (int i = 0; i < 100; ++i) {
    const std::int32_t got = sample(logits, 10, 2, i / 100.0);
    EXPECT_TRUE(got == 1 || got == 3) << got;
    EXPECT_EQ(sample(logits, 10, 1, i / 100.0), 1);
  }
}

TEST(Sample, FollowsTheSoftmax) {
  const std::vector<float> logits = {0.0f, 1.0f, -1.0f, 2.0f};
  const double temperature = 0.7;
  std::vector<double> share(4);
  const int draws = 100000;
  for (int i = 0; i < draws; ++i) {
    const auto got = static_cast<std::size_t>(sample(logits, temperature, 0, (i + 0.5) / draws));
    share[got] += 1.0 / draws;
  }
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit / temperature);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(share[i], std::exp(logits[i] / temperature) / sum, 2.0 / draws) << i;
  }
}

TEST(Sample, NumbersAreNeverMissed) {
  const std::vector<float> even(7, 0.0f);
  EXPECT_EQ(sample(even, 1, 0, 0.0), 0);
  EXPECT_EQ(sample(even, 1, 0, std::nextafter(1.0, 0.0)), 6);
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(sample(std::vector<float>{-infinity, 1, -infinity}, 1, 0, 0.999), 1);
  EXPECT_THROW(sample(std::vector<float>{0, std::nanf(""), 1}, 1, 0, 0.5), Error);
}

TEST(Generate, EveryMeshWritesTheSame) {
  const Dataset data = small_data();
  TrainOptions options = small_run(data);
  const SharedFolder folder;
  options.out_dir = folder.path();
  options.max_iters = 30;
  const Mesh trained_on(world(), meshes(world().size()).front());
  testing::train(options, trained_on, data);

  const Communicator self = world().split(world().rank(), 0, "self");
  const Mesh alone(self, MeshShape{});
  GenerateOptions how;
  how.tokens = 60;  // more than block_size: the context is cropped
  how.seed = shoal::testing::seed();
  const auto write = [&](const Communicator& comm, const Mesh& mesh) {
    const ModelCheckpoint checkpoint = ModelCheckpoint::open(comm, folder.path());
    Gpt model(checkpoint.config(), mesh, 0);
    checkpoint.load(model);
    std::vector<std::int32_t> seen;
    const auto tokens = generate(model, checkpoint.tokenizer().encode("fish"), how,
                                 [&](std::int32_t token) { seen.push_back(token); });
    EXPECT_EQ(seen, std::vector<std::int32_t>(tokens.begin() + 4, tokens.end()));
    return checkpoint.tokenizer().decode(tokens);
  };
  const std::string expected = write(self, alone);
  EXPECT_EQ(expected.size(), 64u);
  EXPECT_EQ(expected.substr(0, 4), "fish");
  for (const MeshShape& shape : meshes(world().size())) {
    const Mesh mesh(world(), shape);
    EXPECT_EQ(write(world(), mesh), expected) << shape.text();
  }
  how.seed += 1;
  EXPECT_NE(write(self, alone), expected) << "the seed makes no difference";
}

TEST(Generate, RefusesWhatMakesNoSense) {
  const Dataset data = small_data();
  const Communicator self = world().split(world().rank(), 0, "self");
  const Mesh alone(self, MeshShape{});
  Gpt model(small_run(data).model, alone, 1);
  const std::vector<std::int32_t> prompt = {0};
  EXPECT_THROW(generate(model, {}, {}), UsageError);
  EXPECT_THROW(generate(model, prompt, {-1}), UsageError);
  EXPECT_THROW(generate(model, prompt, {1, -0.1}), UsageError);
  EXPECT_THROW(generate(model, prompt, {1, 1.0, -1}), UsageError);
  EXPECT_EQ(generate(model, prompt, {0}), prompt);
}

}  // namespace
}  // namespace shoal::models
