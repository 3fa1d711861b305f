// Sums of a few numbers, one from each rank, that come out as if computed exactly and rounded once.
// Compiled once for each instruction set.
//
// A running sum s in fp64 keeps the error of each addition (Knuth's TwoSum) in a second sum e, and the
// errors of that in F, the sum of their absolute values: the exact sum is s + e to within F. In most
// data F is 0, since s and e have 106 bits between them, and rounding s + e is rounding the exact sum.
// Where it is not, the rounding is the same for all that the sum can be (Ziv's test), or else the
// element is left to the superaccumulator.
//
// Cost: 14 operations an element and rank, all in vectors; the bound is still memory for large data.
// Source: Knuth, The Art of Computer Programming vol. 2, 4.2.2; Ogita, Rump & Oishi 2005, Accurate Sum
// and Dot Product (the cascade); Boldo & Melquiond 2008, Emulation of a FMA and Correctly Rounded Sums
// (round to odd); Ziv 1991, Fast Evaluation of Elementary Mathematical Functions.

#include <cstddef>
#include <cstdint>

#include "exact_table.hpp"

namespace shoal::exact_kernels {
namespace SHOAL_SIMD_VARIANT {
namespace {

struct Bf16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};

template <class To, class From>
inline To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

inline double widen(float value) { return static_cast<double>(value); }
inline double widen(double value) { return value; }
inline double widen(Bf16 value) {
  return static_cast<double>(bit_cast<float>(std::uint32_t{value.bits} << 16));
}
inline double widen(F16 value) {
  // Shifted into place and rescaled by 2^112, subnormals come out right by themselves; infinity and
  // NaN need their exponent filled up.
  const std::uint32_t magnitude = value.bits & 0x7fffu;
  const float scaled = bit_cast<float>(magnitude << 13) * 0x1p112f;
  std::uint32_t bits = bit_cast<std::uint32_t>(scaled);
  bits |= magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  return static_cast<double>(bit_cast<float>(bits | (std::uint32_t{value.bits & 0x8000u} << 16)));
}

// To single precision, rounded to odd: what rounds to 16 bits afterwards rounds as if from fp64.
inline float odd_float(double value) {
  const float near = static_cast<float>(value);
  const double error = value - static_cast<double>(near);
  const auto bits = bit_cast<std::uint32_t>(near);
  const bool inexact = (error != 0) & ((bits & 1u) == 0) & ((bits & 0x7fffffffu) < 0x7f800000u);
  const bool outward = (error > 0) == (near > 0);
  // An inexact 0 has no sign of its own yet: it becomes the smallest number of the value's sign.
  const std::uint32_t smallest = value < 0 ? 0x80000001u : 1u;
  const std::uint32_t moved = near == 0 ? smallest : outward ? bits + 1 : bits - 1;
  return bit_cast<float>(inexact ? moved : bits);
}

inline void narrow(double value, float& out) { out = static_cast<float>(value); }
inline void narrow(double value, double& out) { out = value; }
inline void narrow(double value, Bf16& out) {
  const auto bits = bit_cast<std::uint32_t>(odd_float(value));
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  out.bits = static_cast<std::uint16_t>(is_nan ? (bits >> 16) | 0x40u : rounded);
}
inline void narrow(double value, F16& out) {
  const auto bits = bit_cast<std::uint32_t>(odd_float(value));
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const std::uint32_t tiny =
      bit_cast<std::uint32_t>(bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  std::uint32_t result = magnitude < 0x38800000u ? tiny : normal;
  result = magnitude >= 0x477ff000u ? 0x7c00u : result;
  result = magnitude > 0x7f800000u ? 0x7e00u : result;
  out.bits = static_cast<std::uint16_t>(sign | result);
}

// a + b without its rounding error, and the error.
inline double two_sum(double a, double b, double& error) {
  const double sum = a + b;
  const double part = sum - a;
  error = (a - (sum - part)) + (b - part);
  return sum;
}

template <class T>
std::size_t sum(const void* const* inputs, int input_count, std::size_t first, std::size_t n,
                double* sums, std::uint64_t* doubtful) {
  alignas(64) double high[block];
  alignas(64) double low[block];
  alignas(64) double lost[block];
  const T* start = static_cast<const T*>(inputs[0]) + first;
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) {
    high[i] = widen(start[i]);
    low[i] = 0;
    lost[i] = 0;
  }
  for (int k = 1; k < input_count; ++k) {
    const T* in = static_cast<const T*>(inputs[k]) + first;
#pragma omp simd
    for (std::size_t i = 0; i < n; ++i) {
      double error;
      double error_of_error;
      high[i] = two_sum(high[i], widen(in[i]), error);
      low[i] = two_sum(low[i], error, error_of_error);
      lost[i] += __builtin_fabs(error_of_error);
    }
  }
  // All in lanes of 64 bits, or compilers give up on vectors.
  std::uint64_t count = 0;
#pragma omp simd reduction(+ : count)
  for (std::size_t i = 0; i < n; ++i) {
    double rest;
    const double both = two_sum(high[i], low[i], rest);
    // 0 is added to nothing: it would turn −0 into +0.
    const double near = low[i] == 0 ? high[i] : both;
    std::uint64_t doubt = lost[i] == 0 ? 0 : 1;
    double result = near;
    if constexpr (sizeof(T) == sizeof(double)) {
      // Twice what was lost covers the rounding of `lost` itself; 2^-51·|rest| that of what follows.
      const double margin = 2 * lost[i] + 0x1p-51 * __builtin_fabs(rest);
      const double least = near + (rest - margin);
      const double most = near + (rest + margin);
      result = doubt == 0 ? near : least;
      doubt = least == most ? 0 : doubt;
    } else {
      const auto bits = bit_cast<std::uint64_t>(near);
      const double outward = near > 0 ? rest : -rest;
      const std::uint64_t moved = outward > 0 ? bits + 1 : bits - 1;
      const std::uint64_t odd = (bits & 1u) != 0 ? bits : moved;
      const std::uint64_t exact_or_odd = rest == 0 ? bits : odd;
      result = bit_cast<double>(low[i] == 0 ? bits : exact_or_odd);
    }
    // Infinities and NaN, their own or from an overflow on the way.
    doubt = high[i] - high[i] == 0 ? doubt : 1;
    sums[i] = result;
    doubtful[i] = doubt;
    count += doubt;
  }
  return count;
}

template <class T>
void finish(const double* sums, std::size_t n, double divisor, void* out) {
  T* to = static_cast<T*>(out);
  if (divisor == 1) {
#pragma omp simd
    for (std::size_t i = 0; i < n; ++i) narrow(sums[i], to[i]);
  } else {
#pragma omp simd
    for (std::size_t i = 0; i < n; ++i) narrow(sums[i] / divisor, to[i]);
  }
}

}  // namespace

const Table table = {{sum<float>, sum<double>, sum<Bf16>, sum<F16>},
                     {finish<float>, finish<double>, finish<Bf16>, finish<F16>}};

}  // namespace SHOAL_SIMD_VARIANT
}  // namespace shoal::exact_kernels
