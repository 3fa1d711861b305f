#include <shoal/kernels/local/optimizer.hpp>

#include <shoal/runtime/error.hpp>

#include "reference.hpp"

namespace shoal::kernels {
namespace {

TEST(Optimizer, AdamWFollowsThePaper) {
  auto random = testing::generator();
  for (const Index n : {0, 1, 17, 40003}) {
    auto params = testing::uniform<float>(random, n);
    std::vector<float> m(params.size(), 0.0f);
    std::vector<float> v(params.size(), 0.0f);
    auto exact = widen(params);
    std::vector<double> exact_m(params.size());
    std::vector<double> exact_v(params.size());
    for (std::int64_t step = 1; step <= 5; ++step) {
      const auto grads = testing::uniform<float>(random, n);
      const AdamW adamw{0.01f, 0.9f, 0.95f, 1e-8f, 0.1f, step};
      adamw_step(adamw, n, params.data(), grads.data(), 0.5f, m.data(), v.data());
      const double beta1 = adamw.beta1;
      const double beta2 = adamw.beta2;
      const double lr = adamw.learning_rate;
      for (std::size_t i = 0; i < params.size(); ++i) {
        const double g = 0.5 * static_cast<double>(grads[i]);
        exact_m[i] = beta1 * exact_m[i] + (1 - beta1) * g;
        exact_v[i] = beta2 * exact_v[i] + (1 - beta2) * g * g;
        const double m_hat = exact_m[i] / (1 - std::pow(beta1, static_cast<double>(step)));
        const double v_hat = exact_v[i] / (1 - std::pow(beta2, static_cast<double>(step)));
        exact[i] -= lr * (static_cast<double>(adamw.weight_decay) * exact[i] +
                          m_hat / (std::sqrt(v_hat) + static_cast<double>(adamw.epsilon)));
      }
    }
    expect_near(params, exact, 20 * epsilon32);
    expect_near(m, exact_m, 20 * epsilon32);
    expect_near(v, exact_v, 20 * epsilon32);
  }
  float x = 0;
  EXPECT_THROW(adamw_step(AdamW{.step = 0}, 1, &x, &x, 1, &x, &x), Error);
}

TEST(Optimizer, SameForAnyThreads) {
  auto random = testing::generator();
  const Index n = 200003;
  const auto params = testing::uniform<float>(random, n);
  const auto grads = testing::uniform<float>(random, n);
  expect_same_for_any_threads([&] {
    auto p = params;
    std::vector<float> m(p.size(), 0.1f);
    std::vector<float> v(p.size(), 0.2f);
    adamw_step(AdamW{.learning_rate = 0.1f, .step = 3}, n, p.data(), grads.data(), 1, m.data(),
               v.data());
    return p;
  });
  double expected = 0;
  {
    const WithThreads one(1);
    expected = sum_of_squares(n, params.data());
  }
  for (const int threads : {2, 3, 8}) {
    const WithThreads several(threads);
    EXPECT_EQ(sum_of_squares(n, params.data()), expected);
  }
}

TEST(Optimizer, SumOfSquaresIsInFp64) {
  auto random = testing::generator();
  for (const Index n : {0, 1, 100, 100003}) {
    // Squares that fp32 could not hold.
    const auto x = testing::uniform<float>(random, n, 1e25f, 2e25f);
    double expected = 0;
    for (const float v : x) expected += static_cast<double>(v) * static_cast<double>(v);
    EXPECT_NEAR(sum_of_squares(n, x.data()), expected, expected * 1e-12);
  }
  std::vector<float> x(70000, 1.0f);
  x[69999] = nan;
  EXPECT_TRUE(std::isnan(sum_of_squares(70000, x.data())));
  x[69999] = -inf;
  EXPECT_EQ(sum_of_squares(70000, x.data()), static_cast<double>(inf));
}

TEST(Optimizer, ClipScale) {
  EXPECT_EQ(clip_scale(0.5, 1.0f), 1.0f);
  EXPECT_NEAR(clip_scale(4.0, 1.0f), 0.25, 1e-6);
  EXPECT_EQ(clip_scale(4.0, 0.0f), 1.0f);
  EXPECT_EQ(clip_scale(0.0, 1.0f), 1.0f);
  EXPECT_TRUE(std::isnan(clip_scale(static_cast<double>(nan), 1.0f)));
  EXPECT_TRUE(std::isnan(clip_scale(static_cast<double>(inf), 0.0f)));
}

}  // namespace
}  // namespace shoal::kernels
