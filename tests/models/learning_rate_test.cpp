#include <shoal/models/learning_rate.hpp>

#include <gtest/gtest.h>

#include <cmath>

namespace shoal::models {
namespace {

constexpr LearningRate rate{1e-3, 1e-4, 100, 2000, true};

// nanoGPT's get_lr, written down from its definition.
double expected(std::int64_t step) {
  if (step < 100) return 1e-3 * static_cast<double>(step + 1) / 101.0;
  if (step > 2000) return 1e-4;
  const double ratio = static_cast<double>(step - 100) / 1900.0;
  return 1e-4 + 0.5 * (1.0 + std::cos(M_PI * ratio)) * (1e-3 - 1e-4);
}

TEST(LearningRate, IsThatOfNanoGpt) {
  for (std::int64_t step = 0; step < 3000; ++step) {
    EXPECT_NEAR(rate.at(step), expected(step), 1e-15) << "step " << step;
  }
}

TEST(LearningRate, RisesThenFallsThenStays) {
  for (std::int64_t step = 1; step <= 100; ++step) EXPECT_GT(rate.at(step), rate.at(step - 1));
  EXPECT_DOUBLE_EQ(rate.at(100), 1e-3);
  for (std::int64_t step = 101; step <= 2000; ++step) EXPECT_LT(rate.at(step), rate.at(step - 1));
  EXPECT_EQ(rate.at(2000), 1e-4);
  EXPECT_EQ(rate.at(1000000), 1e-4);
}

TEST(LearningRate, WithoutDecayIsConstant) {
  LearningRate constant = rate;
  constant.decay = false;
  for (const std::int64_t step : {0, 50, 100, 1000, 5000}) EXPECT_EQ(constant.at(step), 1e-3);
}

TEST(LearningRate, EmptyPhasesAreLeftOut) {
  const LearningRate no_warmup{1e-3, 1e-4, 0, 10, true};
  EXPECT_EQ(no_warmup.at(0), 1e-3);
  const LearningRate decay_within_warmup{1e-3, 1e-4, 10, 5, true};
  for (std::int64_t step = 0; step < 20; ++step) {
    EXPECT_TRUE(std::isfinite(decay_within_warmup.at(step)));
  }
}

}  // namespace
}  // namespace shoal::models
