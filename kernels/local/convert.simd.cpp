#include "convert_kernels.hpp"
#include "simd_math.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

void round_to_bf16(Index n, const float* x, float* y) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] = as_float(bf16_bits(x[i]));
}

void to_bf16(Index n, const float* x, std::uint16_t* y) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] = static_cast<std::uint16_t>(bf16_bits(x[i]) >> 16);
}

void from_bf16(Index n, const std::uint16_t* x, float* y) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] = as_float(std::uint32_t{x[i]} << 16);
}

// The nearest bfloat16, but for the largest numbers, which would become infinite: the next one to zero.
inline std::uint32_t leading_bits(float x) {
  const std::uint32_t rounded = bf16_bits(x);
  const std::uint32_t bits = as_bits(x);
  const bool overflows =
      (rounded & 0x7fffffffu) == 0x7f800000u && (bits & 0x7fffffffu) < 0x7f800000u;
  return overflows ? bits & 0xffff0000u : rounded;
}

// What x is beyond its leading part; nothing where that is infinite or NaN.
inline float beyond(float x, std::uint32_t leading) {
  const float rest = x - as_float(leading);
  return (leading & 0x7f800000u) == 0x7f800000u ? 0.0f : rest;
}

void split(Index n, const float* x, std::uint16_t* first, std::uint16_t* second,
           std::uint16_t* third) {
  if (third == nullptr) {
#pragma omp simd
    for (Index i = 0; i < n; ++i) {
      const std::uint32_t leading = leading_bits(x[i]);
      first[i] = static_cast<std::uint16_t>(leading >> 16);
      second[i] = static_cast<std::uint16_t>(bf16_bits(beyond(x[i], leading)) >> 16);
    }
    return;
  }
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const std::uint32_t leading = leading_bits(x[i]);
    const float rest = beyond(x[i], leading);
    const std::uint32_t middle = bf16_bits(rest);
    first[i] = static_cast<std::uint16_t>(leading >> 16);
    second[i] = static_cast<std::uint16_t>(middle >> 16);
    third[i] = static_cast<std::uint16_t>(bf16_bits(rest - as_float(middle)) >> 16);
  }
}

float quantize(Index n, const float* x, std::int8_t* q) {
  // As integers, magnitudes of floats are ordered, and NaN lies above infinity.
  std::uint32_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (Index i = 0; i < n; ++i) {
    const std::uint32_t magnitude = as_bits(x[i]) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  const float absmax = as_float(largest);
  const bool finite = largest < 0x7f800000u;
  const float scale = finite ? absmax / 127.0f : as_float(0x7fc00000u);
  if (!finite || scale == 0.0f) {
    for (Index i = 0; i < n; ++i) q[i] = 0;
    return scale;
  }
  constexpr float shifter = 12582912.0f;
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const float shifted = x[i] / scale + shifter;  // rounds to nearest, ties to even
    const std::int32_t value = static_cast<std::int32_t>(as_bits(shifted) - as_bits(shifter));
    const std::int32_t upper = value > 127 ? 127 : value;
    q[i] = static_cast<std::int8_t>(upper < -127 ? -127 : upper);
  }
  return scale;
}

void scale_int32(Index n, float a_scale, const float* b_scale, float* c) {
#pragma omp simd
  for (Index j = 0; j < n; ++j) {
    c[j] = static_cast<float>(static_cast<std::int32_t>(as_bits(c[j]))) * (a_scale * b_scale[j]);
  }
}

void dot4_int8(Index k, const std::int8_t* a, const std::int8_t* b, Index ldb, std::int32_t* sums) {
  std::int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
  for (Index i = 0; i < k; ++i) {
    const std::int32_t value = a[i];
    s0 += value * b[i];
    s1 += value * b[ldb + i];
    s2 += value * b[2 * ldb + i];
    s3 += value * b[3 * ldb + i];
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

std::int32_t dot_int8(Index k, const std::int8_t* a, const std::int8_t* b) {
  std::int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < k; ++i) sum += std::int32_t{a[i]} * std::int32_t{b[i]};
  return sum;
}

}  // namespace

extern const ConvertKernels convert_kernels = {round_to_bf16, to_bf16,     from_bf16, split,
                                               quantize,      scale_int32, dot4_int8, dot_int8};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
