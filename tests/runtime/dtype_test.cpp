// Law: conversions to 16 bits round to nearest even, keep NaN and infinity, and undo widening.
#include <shoal/runtime/dtype.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include <shoal/runtime/error.hpp>
#include <support/random.hpp>

namespace shoal::testing {
namespace {

TEST(DType, NamesRoundTrip) {
  for (const DType type : all_dtypes) EXPECT_EQ(parse_dtype(name_of(type)), type);
  EXPECT_THROW(parse_dtype("f31"), UsageError);
}

TEST(Bfloat16, EveryValueSurvivesWidening) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const bfloat16 value{static_cast<std::uint16_t>(bits)};
    const float wide = to_float(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(to_float(to_bfloat16(wide))));
    } else {
      EXPECT_EQ(to_bfloat16(wide), value);
    }
  }
}

TEST(Float16, EveryValueSurvivesWidening) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const float16 value{static_cast<std::uint16_t>(bits)};
    const float wide = to_float(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(to_float(to_float16(wide))));
    } else {
      EXPECT_EQ(to_float16(wide), value) << bits;
    }
  }
}

// The two neighbours in the narrow type bracket the value; rounding picks the nearer one, and the
// even one of two equally near.
template <class Narrow, class Convert>
void expect_nearest(Convert convert, float largest) {
  std::mt19937_64 random = generator();
  std::uniform_real_distribution<float> exponent(-24, 15);
  for (int i = 0; i < 200'000; ++i) {
    const float value = std::exp2(exponent(random));
    if (value >= largest) continue;
    const Narrow rounded = convert(value);
    const double error = std::fabs(double{to_float(rounded)} - value);
    for (const int step : {-1, 1}) {
      if (step < 0 && rounded.bits == 0) continue;
      const Narrow other{static_cast<std::uint16_t>(rounded.bits + step)};
      const double other_error = std::fabs(double{to_float(other)} - value);
      ASSERT_LE(error, other_error) << value;
      if (error == other_error) {
        ASSERT_EQ(rounded.bits % 2, 0) << value;
      }
    }
  }
}

TEST(Bfloat16, RoundsToNearestEven) { expect_nearest<bfloat16>(to_bfloat16, 1e38f); }
TEST(Float16, RoundsToNearestEven) { expect_nearest<float16>(to_float16, 65504.0f); }

TEST(Float16, OverflowIsInfinity) {
  EXPECT_EQ(to_float(to_float16(65519.0f)), 65504.0f);
  EXPECT_EQ(to_float(to_float16(65520.0f)), std::numeric_limits<float>::infinity());
  EXPECT_EQ(to_float(to_float16(-1e30f)), -std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace shoal::testing
