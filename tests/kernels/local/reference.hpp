// What the tests of the local kernels share: comparison with fp64, finite differences, threads.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include <omp.h>

#include <shoal/runtime/units.hpp>
#include <support/random.hpp>

namespace shoal::kernels {

inline constexpr float nan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float inf = std::numeric_limits<float>::infinity();
inline constexpr double epsilon32 = std::numeric_limits<float>::epsilon();

/// Memory that shows where nothing was written.
inline std::vector<float> poisoned(Index n) {
  return std::vector<float>(static_cast<std::size_t>(n), nan);
}

inline std::vector<double> widen(const std::vector<float>& x) { return {x.begin(), x.end()}; }

/// |actual − expected| <= tolerance for all elements; NaN fails.
inline void expect_near(const std::vector<float>& actual, const std::vector<double>& expected,
                        double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual[i]) - expected[i]);
    if (!(error <= tolerance)) {
      FAIL() << "element " << i << " is " << actual[i] << ", expected " << expected[i] << " within "
             << tolerance;
    }
  }
}

/// Equality of bits, so that NaN equals NaN.
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (__builtin_bit_cast(std::uint32_t, a[i]) != __builtin_bit_cast(std::uint32_t, b[i])) {
      return false;
    }
  }
  return true;
}

/// Central differences of a scalar function at x, in fp64.
inline std::vector<double> numeric_gradient(
    const std::function<double(const std::vector<double>&)>& f, std::vector<double> x) {
  constexpr double step = 1e-5;
  std::vector<double> gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double old = x[i];
    x[i] = old + step;
    const double above = f(x);
    x[i] = old - step;
    gradient[i] = (above - f(x)) / (2 * step);
    x[i] = old;
  }
  return gradient;
}

/// Runs with a number of threads, and goes back.
class WithThreads {
 public:
  explicit WithThreads(int threads) : before_(omp_get_max_threads()) {
    omp_set_num_threads(threads);
  }
  ~WithThreads() { omp_set_num_threads(before_); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;

 private:
  int before_;
};

/// The law that results do not depend on the number of threads, nor on the call.
inline void expect_same_for_any_threads(const std::function<std::vector<float>()>& compute) {
  std::vector<float> expected;
  {
    const WithThreads one(1);
    expected = compute();
  }
  for (const int threads : {2, 3, 8}) {
    const WithThreads several(threads);
    EXPECT_TRUE(same_bits(compute(), expected)) << threads << " threads";
  }
}

}  // namespace shoal::kernels
