#include <shoal/kernels/local/activation.hpp>

#include "reference.hpp"

namespace shoal::kernels {
namespace {

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

double gelu_slope(double x) { return (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5; }

TEST(Activation, GeluIsTheFormula) {
  auto random = testing::generator();
  for (const Index n : {0, 1, 15, 17, 1000, 50001}) {
    const auto x = testing::uniform<float>(random, n, -12, 12);
    auto y = poisoned(n);
    gelu_forward(n, x.data(), y.data());
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double expected = gelu(static_cast<double>(x[i]));
      const double v = static_cast<double>(x[i]);
      // The exponential turns the rounding of its argument, 2u, into a relative error; tanh in fp64
      // cancels below 1e-16 near −1.
      const double argument = 1.6 * std::abs(v + 0.044715 * v * v * v);
      ASSERT_NEAR(y[i], expected,
                  (4 + 2 * argument) * epsilon32 * std::abs(expected) + 1e-14 * std::abs(v))
          << v;
    }
  }
}

TEST(Activation, GeluGradientIsTheSlope) {
  auto random = testing::generator();
  const Index n = 20011;
  const auto x = testing::uniform<float>(random, n, -8, 8);
  const auto dy = testing::uniform<float>(random, n);
  auto dx = poisoned(n);
  gelu_backward(n, x.data(), dy.data(), dx.data());
  for (std::size_t i = 0; i < dx.size(); ++i) {
    EXPECT_NEAR(dx[i], static_cast<double>(dy[i]) * gelu_slope(static_cast<double>(x[i])), 2e-6)
        << x[i];
  }
}

TEST(Activation, ExtremesOfGelu) {
  const std::vector<float> x = {0.0f, 1e30f, -1e30f, inf, nan, 100.0f, -100.0f, 1e-40f};
  std::vector<float> y(8);
  std::vector<float> slope(8);
  const std::vector<float> ones(8, 1.0f);
  gelu_forward(8, x.data(), y.data());
  gelu_backward(8, x.data(), ones.data(), slope.data());
  EXPECT_EQ(y[0], 0.0f);
  EXPECT_EQ(y[1], 1e30f);
  EXPECT_EQ(y[2], 0.0f);
  EXPECT_EQ(y[3], inf);
  EXPECT_TRUE(std::isnan(y[4]));
  EXPECT_EQ(y[5], 100.0f);
  EXPECT_EQ(y[6], 0.0f);
  EXPECT_EQ(y[7], 0.5f * x[7]);
  EXPECT_EQ(slope[0], 0.5f);
  EXPECT_EQ(slope[1], 1.0f);
  EXPECT_EQ(slope[2], 0.0f);
  EXPECT_EQ(slope[3], 1.0f);
  EXPECT_TRUE(std::isnan(slope[4]));
}

TEST(Activation, BiasGeluKeepsTheSumForBackward) {
  auto random = testing::generator();
  for (const auto& [rows, cols] :
       {std::pair<Index, Index>{0, 5}, {5, 0}, {1, 1}, {7, 33}, {130, 257}}) {
    const auto product = testing::uniform<float>(random, rows * cols);
    const auto bias = testing::uniform<float>(random, cols);
    auto sum = product;
    auto expected = poisoned(rows * cols);
    auto with_bias = product;
    add_bias(rows, cols, with_bias.data(), bias.data());
    gelu_forward(rows * cols, with_bias.data(), expected.data());
    auto y = poisoned(rows * cols);
    bias_gelu_forward(rows, cols, sum.data(), bias.data(), y.data());
    EXPECT_TRUE(same_bits(sum, with_bias));
    expect_near(y, widen(expected), 4 * epsilon32);
    for (Index i = 0; i < rows * cols; ++i) {
      EXPECT_EQ(with_bias[static_cast<std::size_t>(i)],
                product[static_cast<std::size_t>(i)] + bias[static_cast<std::size_t>(i % cols)]);
    }
    auto unbiased = product;
    bias_gelu_forward(rows, cols, unbiased.data(), nullptr, y.data());
    EXPECT_TRUE(same_bits(unbiased, product));
  }
}

TEST(Activation, BiasGradientAddsTheRows) {
  auto random = testing::generator();
  for (const auto& [rows, cols] :
       {std::pair<Index, Index>{0, 5}, {3, 0}, {1, 1}, {100, 33}, {1000, 70}}) {
    const auto dy = testing::uniform<float>(random, rows * cols);
    const auto before = testing::uniform<float>(random, cols);
    auto expected = widen(before);
    for (Index i = 0; i < rows * cols; ++i) {
      expected[static_cast<std::size_t>(i % cols)] +=
          static_cast<double>(dy[static_cast<std::size_t>(i)]);
    }
    auto dbias = before;
    bias_gradient(rows, cols, dy.data(), dbias.data());
    expect_near(dbias, expected, epsilon32 * static_cast<double>(rows + 1));
    expect_same_for_any_threads([&] {
      auto result = before;
      bias_gradient(rows, cols, dy.data(), result.data());
      return result;
    });
  }
}

TEST(Activation, BiasResidualIsBiasThenSum) {
  auto random = testing::generator();
  for (const auto& [rows, cols] :
       {std::pair<Index, Index>{0, 5}, {3, 0}, {1, 1}, {7, 33}, {130, 257}}) {
    const auto residual = testing::uniform<float>(random, rows * cols);
    const auto branch = testing::uniform<float>(random, rows * cols);
    const auto bias = testing::uniform<float>(random, cols);
    auto expected = branch;
    add_bias(rows, cols, expected.data(), bias.data());
    add(rows * cols, residual.data(), expected.data(), expected.data());
    auto out = poisoned(rows * cols);
    bias_residual(rows, cols, residual.data(), branch.data(), bias.data(), out.data());
    EXPECT_TRUE(same_bits(out, expected));
    auto in_place = branch;
    bias_residual(rows, cols, residual.data(), in_place.data(), bias.data(), in_place.data());
    EXPECT_TRUE(same_bits(in_place, expected));
    add(rows * cols, residual.data(), branch.data(), expected.data());
    bias_residual(rows, cols, residual.data(), branch.data(), nullptr, out.data());
    EXPECT_TRUE(same_bits(out, expected)) << "without a bias";
  }
}

TEST(Activation, AddMayOverwriteAnOperand) {
  auto random = testing::generator();
  const Index n = 40001;
  const auto a = testing::uniform<float>(random, n);
  const auto b = testing::uniform<float>(random, n);
  auto out = poisoned(n);
  add(n, a.data(), b.data(), out.data());
  auto in_place = a;
  add(n, in_place.data(), b.data(), in_place.data());
  EXPECT_TRUE(same_bits(out, in_place));
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], a[i] + b[i]);
}

TEST(Activation, SameForAnyThreads) {
  auto random = testing::generator();
  const Index n = 100003;
  const auto x = testing::uniform<float>(random, n, -5, 5);
  expect_same_for_any_threads([&] {
    auto y = poisoned(n);
    gelu_forward(n, x.data(), y.data());
    return y;
  });
}

}  // namespace
}  // namespace shoal::kernels
