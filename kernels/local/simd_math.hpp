// Elementary functions that compilers can vectorise: no branches, no tables, no libm.
//
// To be included by *.simd.cpp files only. Coefficients are those of Cephes (Moshier 1989); errors
// are a few units in the last place.
#pragma once

#include <cstdint>

namespace shoal {
using Index = std::int64_t;  // as in units.hpp, which includes too much for these files
}

namespace shoal::kernels::SHOAL_SIMD_VARIANT {

inline float as_float(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }
inline std::uint32_t as_bits(float value) { return __builtin_bit_cast(std::uint32_t, value); }

inline constexpr float infinity = __builtin_inff();

/// e^x over the whole range: subnormal results, 0, infinity and NaN as IEEE has them.
inline float exp_of(float x) {
  // Beyond these bounds the result is infinity or 0 anyway. NaN passes both comparisons.
  float clamped = x > 89.0f ? 89.0f : x;
  clamped = clamped < -105.0f ? -105.0f : clamped;
  // Adding 1.5·2^23 rounds to an integer, which then stands in the low bits.
  constexpr float shifter = 12582912.0f;
  const float shifted = clamped * 1.44269504088896341f + shifter;
  const float n = shifted - shifter;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float y = p * (r * r) + r + 1.0f;
  // 2^n in two factors, so that neither leaves the range of normal numbers when the product does.
  const std::int32_t exponent = static_cast<std::int32_t>(as_bits(shifted) - as_bits(shifter));
  const std::int32_t half = exponent >> 1;
  const std::uint32_t first = static_cast<std::uint32_t>(half) + 127u;
  const std::uint32_t second =
      static_cast<std::uint32_t>(exponent) - static_cast<std::uint32_t>(half) + 127u;
  return y * as_float(first << 23) * as_float(second << 23);
}

/// ln x for normal positive x.
inline float log_of(float x) {
  const std::uint32_t bits = as_bits(x);
  // Exponent and mantissa such that the mantissa lies in [√½, √2).
  const std::uint32_t shifted = bits - 0x3f3504f3u;
  const std::int32_t exponent = static_cast<std::int32_t>(shifted) >> 23;
  const float e = static_cast<float>(exponent);
  const float r = as_float((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  const float z = r * r;
  float p = 7.0376836292e-2f;
  p = p * r - 1.1514610310e-1f;
  p = p * r + 1.1676998740e-1f;
  p = p * r - 1.2420140846e-1f;
  p = p * r + 1.4249322787e-1f;
  p = p * r - 1.6668057665e-1f;
  p = p * r + 2.0000714765e-1f;
  p = p * r - 2.4999993993e-1f;
  p = p * r + 3.3333331174e-1f;
  const float y = r * z * p - e * 2.12194440e-4f - 0.5f * z;
  return r + y + e * 0.693359375f;
}

/// x rounded to bfloat16 (nearest, ties to even; NaN stays NaN), as the upper half of the result.
inline std::uint32_t bf16_bits(float x) {
  const std::uint32_t bits = as_bits(x);
  const std::uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  const std::uint32_t quiet = bits | 0x00400000u;
  return ((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded) & 0xffff0000u;
}

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
