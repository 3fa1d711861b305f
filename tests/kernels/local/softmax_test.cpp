#include <shoal/kernels/local/softmax.hpp>

#include "reference.hpp"

namespace shoal::kernels {
namespace {

std::vector<double> reference(Index rows, Index cols, const std::vector<double>& x) {
  std::vector<double> y(x.size());
  for (Index r = 0; r < rows; ++r) {
    double max = -std::numeric_limits<double>::infinity();
    double sum = 0;
    for (Index c = 0; c < cols; ++c) max = std::max(max, x[static_cast<std::size_t>(r * cols + c)]);
    for (Index c = 0; c < cols; ++c)
      sum += std::exp(x[static_cast<std::size_t>(r * cols + c)] - max);
    for (Index c = 0; c < cols; ++c) {
      const auto i = static_cast<std::size_t>(r * cols + c);
      y[i] = std::exp(x[i] - max) / sum;
    }
  }
  return y;
}

TEST(Softmax, ForwardIsTheFormula) {
  auto random = testing::generator();
  for (const auto& [rows, cols] :
       {std::pair<Index, Index>{0, 4}, {4, 0}, {1, 1}, {5, 7}, {9, 1001}, {2, 5000}}) {
    const auto x = testing::uniform<float>(random, rows * cols, -30, 30);
    auto y = poisoned(rows * cols);
    softmax_forward(rows, cols, x.data(), y.data());
    const auto expected = reference(rows, cols, widen(x));
    for (std::size_t i = 0; i < y.size(); ++i) {
      // exp turns the rounding of x − max, at most 60, into a relative error.
      ASSERT_NEAR(y[i], expected[i], expected[i] * epsilon32 * (32 + static_cast<double>(cols) / 8))
          << i;
    }
  }
}

TEST(Softmax, BackwardIsTheGradient) {
  auto random = testing::generator();
  const Index cols = 37;
  const auto x = testing::uniform<float>(random, cols, -3, 3);
  const auto dy = testing::uniform<float>(random, cols);
  auto y = poisoned(cols);
  auto dx = poisoned(cols);
  softmax_forward(1, cols, x.data(), y.data());
  softmax_backward(1, cols, y.data(), dy.data(), dx.data());
  const auto expected = numeric_gradient(
      [&](const std::vector<double>& v) {
        const auto p = reference(1, cols, v);
        double sum = 0;
        for (std::size_t i = 0; i < p.size(); ++i) sum += p[i] * static_cast<double>(dy[i]);
        return sum;
      },
      widen(x));
  expect_near(dx, expected, 8 * epsilon32);
}

TEST(Softmax, Extremes) {
  const std::vector<float> x = {1e30f, -1e30f, -inf, 0, nan,  0,    0,    0,
                                inf,   0,      0,    0, -inf, -inf, -inf, -inf};
  auto y = poisoned(16);
  softmax_forward(4, 4, x.data(), y.data());
  EXPECT_EQ(y[0], 1.0f);
  EXPECT_EQ(y[1], 0.0f);
  EXPECT_EQ(y[2], 0.0f);
  for (std::size_t i = 4; i < 8; ++i) EXPECT_TRUE(std::isnan(y[i]));
  EXPECT_TRUE(std::isnan(y[8]));
  for (std::size_t i = 12; i < 16; ++i) EXPECT_TRUE(std::isnan(y[i]));
}

}  // namespace
}  // namespace shoal::kernels
