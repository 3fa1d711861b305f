#include <shoal/kernels/local/cross_entropy.hpp>

#include "reference.hpp"

namespace shoal::kernels {
namespace {

constexpr Index rows = 9;

// Log-sum-exp and target logits put together from shards of the given widths.
struct Combined {
  std::vector<double> log_sum_exp, target;
};

Combined combine(const std::vector<float>& logits, Index cols, Index ld,
                 const std::vector<std::int32_t>& targets, const std::vector<Index>& bounds) {
  std::vector<double> max(rows, -std::numeric_limits<double>::infinity());
  std::vector<double> sum(rows, 0.0);
  Combined result{std::vector<double>(rows), std::vector<double>(rows)};
  std::vector<std::vector<float>> maxima;
  std::vector<std::vector<float>> sums;
  for (std::size_t s = 0; s + 1 < bounds.size(); ++s) {
    maxima.push_back(poisoned(rows));
    sums.push_back(poisoned(rows));
    auto target = poisoned(rows);
    cross_entropy_stats(rows, bounds[s + 1] - bounds[s], logits.data() + bounds[s], ld,
                        targets.data(), bounds[s], maxima[s].data(), sums[s].data(), target.data());
    for (std::size_t r = 0; r < rows; ++r) {
      max[r] = std::max(max[r], static_cast<double>(maxima[s][r]));
      result.target[r] += static_cast<double>(target[r]);
    }
  }
  for (std::size_t s = 0; s < sums.size(); ++s) {
    for (std::size_t r = 0; r < rows; ++r) {
      sum[r] +=
          static_cast<double>(sums[s][r]) * std::exp(static_cast<double>(maxima[s][r]) - max[r]);
    }
  }
  for (std::size_t r = 0; r < rows; ++r) result.log_sum_exp[r] = max[r] + std::log(sum[r]);
  EXPECT_EQ(bounds.back(), cols);
  return result;
}

TEST(CrossEntropy, ShardsGiveTheWhole) {
  auto random = testing::generator();
  const Index cols = 5003;
  const Index ld = cols + 5;
  const auto logits = testing::uniform<float>(random, rows * ld, -20, 20);
  std::vector<std::int32_t> targets;
  for (Index r = 0; r < rows; ++r) targets.push_back(static_cast<std::int32_t>(random() % 5003));
  targets[0] = 0;
  targets[1] = 5002;
  for (const auto& bounds :
       {std::vector<Index>{0, cols}, {0, 1, 1, 2500, cols}, {0, 2501, cols, cols}}) {
    const Combined actual = combine(logits, cols, ld, targets, bounds);
    for (std::size_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (Index c = 0; c < cols; ++c) {
        sum += std::exp(static_cast<double>(
            logits[r * static_cast<std::size_t>(ld) + static_cast<std::size_t>(c)]));
      }
      EXPECT_NEAR(actual.log_sum_exp[r], std::log(sum), 1e-4);
      EXPECT_EQ(
          actual.target[r],
          static_cast<double>(
              logits[r * static_cast<std::size_t>(ld) + static_cast<std::size_t>(targets[r])]));
    }
  }
}

TEST(CrossEntropy, BackwardIsTheGradient) {
  auto random = testing::generator();
  const Index cols = 41;
  const Index ld = 44;
  const float scale = 0.125f;
  const auto logits = testing::uniform<float>(random, rows * ld, -3, 3);
  std::vector<std::int32_t> targets;
  for (Index r = 0; r < rows; ++r) targets.push_back(static_cast<std::int32_t>(random() % 41));
  const auto loss = [&](const std::vector<double>& x) {
    double total = 0;
    for (Index r = 0; r < rows; ++r) {
      double sum = 0;
      for (Index c = 0; c < cols; ++c) sum += std::exp(x[static_cast<std::size_t>(r * ld + c)]);
      total += std::log(sum) -
               x[static_cast<std::size_t>(r * ld + targets[static_cast<std::size_t>(r)])];
    }
    return total * static_cast<double>(scale);
  };
  const auto expected = numeric_gradient(loss, widen(logits));
  const Combined stats = combine(logits, cols, ld, targets, {0, cols});
  const std::vector<float> lse(stats.log_sum_exp.begin(), stats.log_sum_exp.end());
  auto gradient = logits;
  const Index middle = 17;
  cross_entropy_backward(rows, middle, gradient.data(), ld, targets.data(), 0, lse.data(), scale);
  cross_entropy_backward(rows, cols - middle, gradient.data() + middle, ld, targets.data(), middle,
                         lse.data(), scale);
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < ld; ++c) {
      const auto i = static_cast<std::size_t>(r * ld + c);
      if (c < cols) {
        EXPECT_NEAR(gradient[i], expected[i], 2e-7);
      } else {
        EXPECT_EQ(gradient[i], logits[i]);
      }
    }
  }
}

TEST(CrossEntropy, Extremes) {
  const std::vector<float> logits = {-inf, -inf, 3, -inf, nan, 1, inf, 0, -inf, nan};
  const std::vector<std::int32_t> targets(5, 7);
  auto max = poisoned(5);
  auto sum = poisoned(5);
  auto target = poisoned(5);
  cross_entropy_stats(5, 2, logits.data(), 2, targets.data(), 0, max.data(), sum.data(),
                      target.data());
  EXPECT_EQ(max[0], -inf);
  EXPECT_EQ(sum[0], 0.0f);
  EXPECT_EQ(max[1], 3.0f);
  EXPECT_EQ(sum[1], 1.0f);
  EXPECT_TRUE(std::isnan(sum[2]));
  EXPECT_TRUE(std::isnan(sum[3]));
  EXPECT_TRUE(std::isnan(sum[4]));
  for (const float t : target) EXPECT_EQ(t, 0.0f);
  cross_entropy_stats(1, 0, nullptr, 0, targets.data(), 0, max.data(), sum.data(), target.data());
  EXPECT_EQ(max[0], -inf);
  EXPECT_EQ(sum[0], 0.0f);
}

}  // namespace
}  // namespace shoal::kernels
