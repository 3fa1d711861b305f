#include <shoal/kernels/local/gemm.hpp>

#include <algorithm>
#include <array>
#include <vector>

#include <omp.h>

#include <shoal/runtime/error.hpp>

#include "reference.hpp"

namespace shoal::kernels {
namespace {

float rounded(float x) { return to_float(to_bfloat16(x)); }

struct Case {
  Trans ta, tb;
  Index m, n, k;
  float alpha, beta;
  Precision precision;
};

class Gemm : public ::testing::TestWithParam<Precision> {};
INSTANTIATE_TEST_SUITE_P(Precisions, Gemm, ::testing::Values(Precision::fp32, Precision::bf16));

// The laws that split operands obey, too.
class GemmAccuracy : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    const bool may_be_split = GetParam() == Precision::bf16x2 || GetParam() == Precision::bf16x3;
    try {
      if (may_be_split && gemm_backend(GetParam()) == gemm_backend(Precision::fp32)) {
        GTEST_SKIP() << "is plain fp32 here";
      }
    } catch (const UsageError& error) {
      GTEST_SKIP() << error.what();  // SHOAL_BF16X_BACKEND=split, without bf16
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Precisions, GemmAccuracy,
                         ::testing::Values(Precision::fp32, Precision::bf16, Precision::bf16x2,
                                           Precision::bf16x3));

// Roundings, in units of 2^-24 of the sum of magnitudes, as gemm.hpp states them.
double roundings(Precision precision, Index k) {
  const auto terms = static_cast<double>(k);
  if (precision == Precision::bf16x2) return 768 + 3 * terms;
  if (precision == Precision::bf16x3) return 5 + 6 * terms;
  return terms;
}

// Compares with fp64 on the operands as rounded, and looks at what lies between the rows of C.
void check(const Case& p) {
  auto random = testing::generator();
  const bool rounds = p.precision == Precision::bf16;
  const Index a_cols = p.ta == Trans::no ? p.k : p.m;
  const Index a_rows = p.ta == Trans::no ? p.m : p.k;
  const Index b_cols = p.tb == Trans::no ? p.n : p.k;
  const Index b_rows = p.tb == Trans::no ? p.k : p.n;
  const Index lda = a_cols + 3;
  const Index ldb = b_cols + 5;
  const Index ldc = p.n + 7;
  auto a = testing::uniform<float>(random, a_rows * lda);
  auto b = testing::uniform<float>(random, b_rows * ldb);
  // What lies between the rows must never be read.
  for (Index i = 0; i < a_rows; ++i) std::fill_n(a.begin() + i * lda + a_cols, 3, nan);
  for (Index i = 0; i < b_rows; ++i) std::fill_n(b.begin() + i * ldb + b_cols, 5, nan);
  const auto before =
      p.beta == 0 ? poisoned(p.m * ldc) : testing::uniform<float>(random, p.m * ldc);
  auto c = before;
  gemm(p.ta, p.tb, p.m, p.n, p.k, p.alpha, a.data(), lda, b.data(), ldb, p.beta, c.data(), ldc,
       p.precision);
  for (Index i = 0; i < p.m; ++i) {
    for (Index j = 0; j < ldc; ++j) {
      const auto at = static_cast<std::size_t>(i * ldc + j);
      if (j >= p.n) {
        ASSERT_EQ(__builtin_bit_cast(std::uint32_t, c[at]),
                  __builtin_bit_cast(std::uint32_t, before[at]));
        continue;
      }
      double sum = 0;
      double size = 0;
      for (Index l = 0; l < p.k; ++l) {
        float x = a[static_cast<std::size_t>(p.ta == Trans::no ? i * lda + l : l * lda + i)];
        float y = b[static_cast<std::size_t>(p.tb == Trans::no ? l * ldb + j : j * ldb + l)];
        if (rounds) {
          x = rounded(x);
          y = rounded(y);
        }
        sum += static_cast<double>(x) * static_cast<double>(y);
        size += std::abs(static_cast<double>(x) * static_cast<double>(y));
      }
      double expected = static_cast<double>(p.alpha) * sum;
      if (p.beta != 0) expected += static_cast<double>(p.beta) * static_cast<double>(before[at]);
      const double bound = epsilon32 * (roundings(p.precision, p.k) + 4) *
                           (std::abs(static_cast<double>(p.alpha)) * size + 2);
      ASSERT_NEAR(c[at], expected, bound) << i << ", " << j;
    }
  }
}

TEST_P(GemmAccuracy, AgreesWithFp64) {
  for (const Trans ta : {Trans::no, Trans::yes}) {
    for (const Trans tb : {Trans::no, Trans::yes}) {
      for (const auto& [m, n, k] : {std::array<Index, 3>{1, 1, 1},
                                    {5, 7, 3},
                                    {17, 1, 33},
                                    {64, 65, 66},
                                    {1, 130, 70},
                                    {0, 3, 4},
                                    {3, 0, 4},
                                    {3, 4, 0}}) {
        for (const auto& [alpha, beta] :
             {std::pair{1.0f, 0.0f}, {1.0f, 1.0f}, {-0.5f, 0.25f}, {0.0f, 0.0f}, {0.0f, 2.0f}}) {
          SCOPED_TRACE(::testing::Message()
                       << static_cast<int>(ta) << static_cast<int>(tb) << ' ' << m << 'x' << n
                       << 'x' << k << ' ' << alpha << ' ' << beta);
          ASSERT_NO_FATAL_FAILURE(check({ta, tb, m, n, k, alpha, beta, GetParam()}));
        }
      }
    }
  }
}

TEST_P(GemmAccuracy, PanelsMakeTheWhole) {
  // More elements than one panel of converted operands holds, in rows, in columns and in the sum.
  for (const Trans t : {Trans::no, Trans::yes}) {
    ASSERT_NO_FATAL_FAILURE(check({t, t, 3, 2200, 2048, 1, 0, GetParam()}));
    ASSERT_NO_FATAL_FAILURE(check({t, t, 2200, 3, 2048, 1, 1, GetParam()}));
    ASSERT_NO_FATAL_FAILURE(check({t, t, 12, 9, 210000, 1, 0, GetParam()}));
    ASSERT_NO_FATAL_FAILURE(check({t, t, 9, 12, 210000, 0.5f, 2, GetParam()}));
  }
}

TEST_P(GemmAccuracy, FewRows) {
  std::vector<Index> rows = {23, 47, 48, 49, 65};
  for (Index m = 1; m <= 17; ++m) rows.push_back(m);
  for (const Index m : rows) {
    for (const Index n : {1, 7, 30}) {
      for (const Index k : {1, 37, 130}) {
        SCOPED_TRACE(::testing::Message() << m << 'x' << n << 'x' << k);
        ASSERT_NO_FATAL_FAILURE(check({Trans::no, Trans::yes, m, n, k, 0.5f, 2, GetParam()}));
        ASSERT_NO_FATAL_FAILURE(check({Trans::no, Trans::yes, m, n, k, 1, 0, GetParam()}));
      }
    }
  }
}

// Weights that no cache holds, which rows meet in groups.
TEST_P(GemmAccuracy, FewRowsOfManyWeights) {
  check({Trans::no, Trans::yes, 33, 2051, 2049, 1, 0, GetParam()});
}

TEST_P(GemmAccuracy, ThreadsMakeTheWhole) {
  // Some are too small to be divided.
  const int before = omp_get_max_threads();
  for (const int threads : {1, 2, 3, 4, 6, 7}) {
    omp_set_num_threads(threads);
    for (const Trans ta : {Trans::no, Trans::yes}) {
      for (const Trans tb : {Trans::no, Trans::yes}) {
        for (const auto& [m, n, k] : {std::array<Index, 3>{100, 30, 9},
                                      {70, 300, 90},
                                      {300, 70, 90},
                                      {3, 40, 30},
                                      {2000, 1, 1000}}) {
          SCOPED_TRACE(::testing::Message() << threads << " threads, " << static_cast<int>(ta)
                                            << static_cast<int>(tb) << ' ' << m << 'x' << n);
          EXPECT_NO_FATAL_FAILURE(check({ta, tb, m, n, k, 1, 1, GetParam()}));
        }
      }
    }
  }
  omp_set_num_threads(before);
}

// Products of parts leave errors that add up at random, as those of fp32 do: the worst of many elements
// is that of fp32 and no more than twice that (x3), or some 2^-17 of the operands' (x2).
TEST_P(GemmAccuracy, IsWhatItsNameSays) {
  if (GetParam() == Precision::fp32 || GetParam() == Precision::bf16) return;
  auto random = testing::generator();
  const Index n = 96;
  const Index k = 700;
  const auto a = testing::uniform<float>(random, n * k);
  const auto b = testing::uniform<float>(random, n * k);
  const auto worst = [&](Precision precision) {
    auto c = poisoned(n * n);
    gemm(Trans::no, Trans::yes, n, n, k, 1, a.data(), k, b.data(), k, 0, c.data(), n, precision);
    double error = 0;
    for (Index i = 0; i < n * n; ++i) {
      double sum = 0;
      for (Index l = 0; l < k; ++l) {
        sum += double{a[static_cast<std::size_t>(i / n * k + l)]} *
               double{b[static_cast<std::size_t>(i % n * k + l)]};
      }
      error = std::max(error, std::abs(sum - double{c[static_cast<std::size_t>(i)]}));
    }
    return error;
  };
  const double allowed = GetParam() == Precision::bf16x3
                             ? 2 * worst(Precision::fp32)
                             : 2 * worst(Precision::fp32) + 0x1p-17 * std::sqrt(double(k)) * 4;
  EXPECT_LE(worst(GetParam()), allowed);
}

TEST_P(Gemm, WithAlphaZeroOperandsAreNotRead) {
  float c[2] = {nan, 3};
  gemm(Trans::no, Trans::no, 1, 2, 5, 0, nullptr, 5, nullptr, 2, 0, c, 2, GetParam());
  EXPECT_EQ(c[0], 0.0f);
  EXPECT_EQ(c[1], 0.0f);
}

TEST_P(Gemm, NanAndInfinitySpread) {
  const Index n = 20;
  std::vector<float> a(400, 1.0f);
  std::vector<float> b(400, 1.0f);
  a[5 * 20 + 3] = nan;
  b[7 * 20 + 9] = inf;
  auto c = poisoned(400);
  gemm(Trans::no, Trans::no, n, n, n, 1, a.data(), n, b.data(), n, 0, c.data(), n, GetParam());
  for (std::size_t i = 0; i < 20; ++i) {
    for (std::size_t j = 0; j < 20; ++j) {
      if (i == 5) {
        EXPECT_TRUE(std::isnan(c[i * 20 + j]));
      } else {
        EXPECT_EQ(c[i * 20 + j], j == 9 ? inf : 20.0f);
      }
    }
  }
}

TEST_P(Gemm, RefusesWrongExtents) {
  float x[16] = {};
  const auto call = [&](Index m, Index lda, Index ldc) {
    gemm(Trans::no, Trans::no, m, 4, 4, 1, x, lda, x, 4, 0, x, ldc, GetParam());
  };
  EXPECT_THROW(call(-1, 4, 4), Error);
  EXPECT_THROW(call(2, 3, 4), Error);
  EXPECT_THROW(call(2, 4, 3), Error);
  EXPECT_THROW(call(Index{1} << 31, 4, 4), Error);
}

TEST(GemmBf16, StoredOperandsGiveWhatRoundedOnesGive) {
  auto random = testing::generator();
  const Index m = 33;
  const Index n = 47;
  const Index k = 65;
  for (const Trans ta : {Trans::no, Trans::yes}) {
    for (const Trans tb : {Trans::no, Trans::yes}) {
      const auto a = testing::uniform<float>(random, m * k);
      const auto b = testing::uniform<float>(random, k * n);
      std::vector<bfloat16> a16;
      std::vector<bfloat16> b16;
      for (const float v : a) a16.push_back(to_bfloat16(v));
      for (const float v : b) b16.push_back(to_bfloat16(v));
      const Index lda = ta == Trans::no ? k : m;
      const Index ldb = tb == Trans::no ? n : k;
      auto stored = poisoned(m * n);
      auto converted = poisoned(m * n);
      gemm_bf16(ta, tb, m, n, k, a16.data(), lda, b16.data(), ldb, stored.data(), n);
      gemm(ta, tb, m, n, k, 1, a.data(), lda, b.data(), ldb, 0, converted.data(), n,
           Precision::bf16);
      expect_near(stored, widen(converted), 2 * epsilon32 * static_cast<double>(k));
    }
  }
}

TEST(GemmBf16, FewRowsOfStoredOperands) {
  auto random = testing::generator();
  std::vector<std::array<Index, 3>> shapes = {{20, 2051, 2049}};
  for (Index m = 1; m <= 17; ++m) {
    for (const Index k : {1, 37, 130}) shapes.push_back({m, 30, k});
  }
  for (const auto& [m, n, k] : shapes) {
    const auto a = testing::uniform<float>(random, m * k);
    const auto b = testing::uniform<float>(random, k * n);
    std::vector<bfloat16> a16;
    std::vector<bfloat16> b16;
    for (const float v : a) a16.push_back(to_bfloat16(v));
    for (const float v : b) b16.push_back(to_bfloat16(v));
    auto c = poisoned(m * n);
    gemm_bf16(Trans::no, Trans::yes, m, n, k, a16.data(), k, b16.data(), k, c.data(), n);
    std::vector<double> expected;
    for (Index i = 0; i < m; ++i) {
      for (Index j = 0; j < n; ++j) {
        double sum = 0;
        for (Index l = 0; l < k; ++l) {
          sum += double{to_float(a16[static_cast<std::size_t>(i * k + l)])} *
                 double{to_float(b16[static_cast<std::size_t>(j * k + l)])};
        }
        expected.push_back(sum);
      }
    }
    expect_near(c, expected, 2 * epsilon32 * static_cast<double>(k));
  }
}

TEST(GemmInt8, IsExact) {
  auto random = testing::generator();
  std::uniform_int_distribution<int> any(-128, 127);
  std::vector<std::array<Index, 3>> shapes = {{1, 1, 1}, {3, 5, 7}, {17, 33, 129}, {4, 70, 1000},
                                              {0, 3, 3}, {3, 0, 3}, {3, 3, 0},     {2, 2, 131071},
                                              {33, 2051, 2049}};
  for (Index m = 1; m <= 17; ++m) shapes.push_back({m, 19, 70});
  for (const auto& [m, n, k] : shapes) {
    const Index lda = k + 3;
    const Index ldb = k + 1;
    const Index ldc = n + 2;
    // Extremes everywhere half of the time: saturating arithmetic would show.
    for (const bool extreme : {false, true}) {
      std::vector<std::int8_t> a(static_cast<std::size_t>(m * lda));
      std::vector<std::int8_t> b(static_cast<std::size_t>(n * ldb));
      for (auto& v : a) v = static_cast<std::int8_t>(extreme ? -128 : any(random));
      for (auto& v : b) v = static_cast<std::int8_t>(extreme ? -128 : any(random));
      const auto a_scale = testing::uniform<float>(random, m);
      const auto b_scale = testing::uniform<float>(random, n);
      for (const bool scaled : {false, true}) {
        auto c = poisoned(m * ldc);
        gemm_int8(m, n, k, a.data(), lda, scaled ? a_scale.data() : nullptr, b.data(), ldb,
                  b_scale.data(), c.data(), ldc);
        for (Index i = 0; i < m; ++i) {
          for (Index j = 0; j < n; ++j) {
            std::int64_t sum = 0;
            for (Index l = 0; l < k; ++l) {
              sum += std::int64_t{a[static_cast<std::size_t>(i * lda + l)]} *
                     std::int64_t{b[static_cast<std::size_t>(j * ldb + l)]};
            }
            const float factor = (scaled ? a_scale[static_cast<std::size_t>(i)] : 1.0f) *
                                 b_scale[static_cast<std::size_t>(j)];
            ASSERT_EQ(c[static_cast<std::size_t>(i * ldc + j)], static_cast<float>(sum) * factor)
                << m << 'x' << n << 'x' << k;
          }
          EXPECT_TRUE(std::isnan(c[static_cast<std::size_t>(i * ldc + n)]));
        }
      }
    }
  }
  EXPECT_THROW(
      gemm_int8(1, 1, 131072, nullptr, 131072, nullptr, nullptr, 131072, nullptr, nullptr, 1),
      Error);
}

TEST(GemmInt8, QuantisationRoundsToTheNearest) {
  auto random = testing::generator();
  const Index cols = 37;
  auto x = testing::uniform<float>(random, 4 * cols, -3, 3);
  std::fill_n(x.begin() + cols, cols, 0.0f);
  x[static_cast<std::size_t>(2 * cols + 1)] = inf;
  x[static_cast<std::size_t>(3 * cols + 1)] = nan;
  std::vector<std::int8_t> q(x.size(), 99);
  auto scale = poisoned(4);
  quantize_rows(4, cols, x.data(), q.data(), scale.data());
  int largest = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(cols); ++i) {
    EXPECT_NEAR(static_cast<double>(q[i]) * static_cast<double>(scale[0]), x[i],
                static_cast<double>(scale[0]) * 0.5001);
    largest = std::max(largest, std::abs(int{q[i]}));
  }
  EXPECT_EQ(largest, 127);
  EXPECT_EQ(scale[1], 0.0f);
  EXPECT_TRUE(std::isnan(scale[2]));
  EXPECT_TRUE(std::isnan(scale[3]));
  for (std::size_t i = static_cast<std::size_t>(cols); i < q.size(); ++i) EXPECT_EQ(q[i], 0);
}

TEST(GemmBackends, HaveNames) {
  EXPECT_FALSE(gemm_backend(Precision::fp32).empty());
  EXPECT_FALSE(gemm_backend(Precision::bf16).empty());
  EXPECT_FALSE(gemm_backend_int8().empty());
}

}  // namespace
}  // namespace shoal::kernels
