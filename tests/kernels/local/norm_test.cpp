#include <shoal/kernels/local/norm.hpp>

#include "reference.hpp"

namespace shoal::kernels {
namespace {

constexpr float eps = 1e-5f;
using Doubles = std::vector<double>;

// y for `mean_removed` (LayerNorm) or not (RMSNorm), in fp64.
Doubles reference(Index rows, Index cols, const Doubles& x, const Doubles& gain,
                  const Doubles& bias, bool mean_removed) {
  Doubles y(x.size());
  for (Index r = 0; r < rows; ++r) {
    const double* row = x.data() + r * cols;
    double mean = 0;
    double squares = 0;
    if (mean_removed) {
      for (Index c = 0; c < cols; ++c) mean += row[c] / static_cast<double>(cols);
    }
    for (Index c = 0; c < cols; ++c) squares += (row[c] - mean) * (row[c] - mean);
    const double rstd =
        1 / std::sqrt(squares / static_cast<double>(cols) + static_cast<double>(eps));
    for (Index c = 0; c < cols; ++c) {
      const auto i = static_cast<std::size_t>(c);
      y[static_cast<std::size_t>(r * cols + c)] =
          (row[c] - mean) * rstd * gain[i] + (bias.empty() ? 0 : bias[i]);
    }
  }
  return y;
}

double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

class Norm : public ::testing::TestWithParam<std::pair<Index, Index>> {};
INSTANTIATE_TEST_SUITE_P(Shapes, Norm,
                         ::testing::Values(std::pair<Index, Index>{0, 8},
                                           std::pair<Index, Index>{1, 1},
                                           std::pair<Index, Index>{3, 17},
                                           std::pair<Index, Index>{70, 33},
                                           std::pair<Index, Index>{200, 129}));

TEST_P(Norm, ForwardIsTheFormula) {
  const auto [rows, cols] = GetParam();
  auto random = testing::generator();
  // A mean far from 0 shows a variance computed by cancellation.
  const auto x = testing::uniform<float>(random, rows * cols, 9, 12);
  const auto gain = testing::uniform<float>(random, cols);
  const auto bias = testing::uniform<float>(random, cols);
  auto y = poisoned(rows * cols);
  auto mean = poisoned(rows);
  auto rstd = poisoned(rows);
  const double tolerance = 100 * epsilon32;
  layer_norm_forward(rows, cols, x.data(), gain.data(), bias.data(), eps, y.data(), mean.data(),
                     rstd.data());
  expect_near(y, reference(rows, cols, widen(x), widen(gain), widen(bias), true), tolerance);
  layer_norm_forward(rows, cols, x.data(), gain.data(), nullptr, eps, y.data(), mean.data(),
                     rstd.data());
  expect_near(y, reference(rows, cols, widen(x), widen(gain), {}, true), tolerance);
  rms_norm_forward(rows, cols, x.data(), gain.data(), eps, y.data(), rstd.data());
  expect_near(y, reference(rows, cols, widen(x), widen(gain), {}, false), tolerance);
}

TEST_P(Norm, BackwardIsTheGradientAndAdds) {
  const auto [rows, cols] = GetParam();
  auto random = testing::generator();
  const auto x = testing::uniform<float>(random, rows * cols, -1, 2);
  const auto gain = testing::uniform<float>(random, cols);
  const auto bias = testing::uniform<float>(random, cols);
  const auto dy = testing::uniform<float>(random, rows * cols);
  const auto start = testing::uniform<float>(random, rows * cols);
  const auto start_cols = testing::uniform<float>(random, cols);
  auto y = poisoned(rows * cols);
  auto mean = poisoned(rows);
  auto rstd = poisoned(rows);
  for (const bool layer : {true, false}) {
    const Doubles no_bias;
    const Doubles b = layer ? widen(bias) : no_bias;
    Doubles expected_dx(x.size());
    // Rows are independent: differences row by row keep the test quick.
    for (Index r = 0; r < rows; ++r) {
      const auto part = [&](const std::vector<float>& whole) {
        return Doubles(whole.begin() + r * cols, whole.begin() + (r + 1) * cols);
      };
      const Doubles dy_row = part(dy);
      const auto gradient = numeric_gradient(
          [&](const Doubles& v) {
            return dot(reference(1, cols, v, widen(gain), b, layer), dy_row);
          },
          part(x));
      std::copy(gradient.begin(), gradient.end(), expected_dx.begin() + r * cols);
    }
    auto expected_dgain = numeric_gradient(
        [&](const Doubles& v) {
          return dot(reference(rows, cols, widen(x), v, b, layer), widen(dy));
        },
        widen(gain));
    Doubles expected_dbias(static_cast<std::size_t>(cols));
    for (std::size_t i = 0; i < dy.size(); ++i) {
      expected_dbias[i % static_cast<std::size_t>(cols)] += static_cast<double>(dy[i]);
    }
    for (std::size_t i = 0; i < start.size(); ++i) expected_dx[i] += static_cast<double>(start[i]);
    for (std::size_t i = 0; i < start_cols.size(); ++i) {
      expected_dgain[i] += static_cast<double>(start_cols[i]);
      expected_dbias[i] += static_cast<double>(start_cols[i]);
    }
    auto dx = start;
    auto dgain = start_cols;
    auto dbias = start_cols;
    if (layer) {
      layer_norm_forward(rows, cols, x.data(), gain.data(), bias.data(), eps, y.data(), mean.data(),
                         rstd.data());
      layer_norm_backward(rows, cols, x.data(), gain.data(), mean.data(), rstd.data(), dy.data(),
                          dx.data(), dgain.data(), dbias.data());
      expect_near(dbias, expected_dbias, 2e-5);
    } else {
      rms_norm_forward(rows, cols, x.data(), gain.data(), eps, y.data(), rstd.data());
      rms_norm_backward(rows, cols, x.data(), gain.data(), rstd.data(), dy.data(), dx.data(),
                        dgain.data());
    }
    expect_near(dgain, expected_dgain, 5e-5);
    // With one column rstd is 1/√eps, some 300, and so is the rounding error.
    expect_near(dx, expected_dx, cols == 1 ? 2e-3 : 5e-5);
  }
}

TEST(NormRows, SameForAnyThreads) {
  auto random = testing::generator();
  const Index rows = 333;
  const Index cols = 250;
  const auto x = testing::uniform<float>(random, rows * cols);
  const auto gain = testing::uniform<float>(random, cols);
  const auto dy = testing::uniform<float>(random, rows * cols);
  expect_same_for_any_threads([&] {
    auto y = poisoned(rows * cols);
    auto mean = poisoned(rows);
    auto rstd = poisoned(rows);
    layer_norm_forward(rows, cols, x.data(), gain.data(), nullptr, eps, y.data(), mean.data(),
                       rstd.data());
    std::vector<float> dx(x.size());
    std::vector<float> dgain(gain.size());
    layer_norm_backward(rows, cols, x.data(), gain.data(), mean.data(), rstd.data(), dy.data(),
                        dx.data(), dgain.data(), nullptr);
    y.insert(y.end(), dx.begin(), dx.end());
    y.insert(y.end(), dgain.begin(), dgain.end());
    return y;
  });
}

TEST(NormRows, NanStaysInItsRow) {
  std::vector<float> x(3 * 20, 1.0f);
  x[25] = nan;
  const std::vector<float> gain(20, 1.0f);
  auto y = poisoned(60);
  auto mean = poisoned(3);
  auto rstd = poisoned(3);
  layer_norm_forward(3, 20, x.data(), gain.data(), nullptr, eps, y.data(), mean.data(),
                     rstd.data());
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i / 20 == 1) << i;
}

}  // namespace
}  // namespace shoal::kernels
