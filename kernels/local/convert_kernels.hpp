#pragma once

#include <cstdint>

#include "dispatch.hpp"

namespace shoal::kernels {

/// Conversions of a row, and the integer product. bfloat16 travels as its 16 bits.
struct ConvertKernels {
  void (*round_to_bf16)(std::int64_t n, const float* x, float* y);
  void (*to_bf16)(std::int64_t n, const float* x, std::uint16_t* y);
  void (*from_bf16)(std::int64_t n, const std::uint16_t* x, float* y);
  /// x = first + second + third, each a bfloat16, to 2^-24 of x; without `third` (null) to 2^-16.
  void (*split)(std::int64_t n, const float* x, std::uint16_t* first, std::uint16_t* second,
                std::uint16_t* third);
  /// Scale and quantised values of one row.
  float (*quantize)(std::int64_t n, const float* x, std::int8_t* q);
  /// In place: the int32 whose bits c[j] holds becomes int32·a_scale·b_scale[j].
  void (*scale_int32)(std::int64_t n, float a_scale, const float* b_scale, float* c);
  /// sums[4] = a·b[0], a·b[1], … for four rows b, ldb apart, of k elements.
  void (*dot4_int8)(std::int64_t k, const std::int8_t* a, const std::int8_t* b, std::int64_t ldb,
                    std::int32_t* sums);
  std::int32_t (*dot_int8)(std::int64_t k, const std::int8_t* a, const std::int8_t* b);
};

SHOAL_DECLARE_KERNELS(ConvertKernels, convert_kernels)

}  // namespace shoal::kernels
