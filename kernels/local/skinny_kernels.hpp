#pragma once

#include <cstdint>

#include "dispatch.hpp"

namespace shoal::kernels {

/// Arranged rows are padded to a multiple of this many elements, which all kernels' steps divide.
inline constexpr std::int64_t skinny_step = 128;

/// C[m×n] = alpha·X·Wᵀ + beta·C. X is `arranged` by the function of the same
/// table: in the order in which the kernel meets it. W has n rows of k elements, ldw apart, and is
/// read once from memory. bfloat16 travels as its 16 bits.
template <class Arranged, class Weight>
using SkinnyProduct = void(std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
                           const Arranged* x, const Weight* w, std::int64_t ldw, float beta,
                           float* c, std::int64_t ldc);
/// Row `i` of m, k elements, to its places in X, which has room for m padded rows. Parts of the
/// rows that meet a kernel in one step lie side by side: rows far apart would fall on the same few
/// lines of the first-level cache where k is a power of two.
template <class Element>
using ArrangeRow = void(std::int64_t m, std::int64_t i, std::int64_t k, const Element* row,
                        Element* x);

/// Multiply-adds in fp32.
struct SkinnyKernels {
  ArrangeRow<float>* arrange;        ///< for fp32 and `rounded`
  ArrangeRow<float>* arrange_pairs;  ///< for bf16 weights
  SkinnyProduct<float, float>* fp32;
  SkinnyProduct<float, float>* rounded;  ///< weights are rounded to bf16 as they come
  SkinnyProduct<float, std::uint16_t>* bf16;
};
SHOAL_DECLARE_KERNELS(SkinnyKernels, skinny_kernels)

/// The processor's dot products of bf16; X in bf16.
struct SkinnyBf16Kernels {
  ArrangeRow<std::uint16_t>* arrange;
  SkinnyProduct<std::uint16_t, float>* rounded;  ///< weights are rounded to bf16 as they come
  SkinnyProduct<std::uint16_t, std::uint16_t>* bf16;
};
namespace avx512_bf16 {
extern const SkinnyBf16Kernels skinny_bf16_kernels;
}  // namespace avx512_bf16

/// The processor's dot products of bytes: C = X·Wᵀ in int32.
struct SkinnyInt8Kernels {
  /// As above; the sum of the row.
  std::int32_t (*arrange)(std::int64_t m, std::int64_t i, std::int64_t k, const std::int8_t* row,
                          std::int8_t* x);
  void (*product)(std::int64_t m, std::int64_t n, std::int64_t k, const std::int8_t* x,
                  const std::int32_t* row_sums, const std::int8_t* w, std::int64_t ldw,
                  std::int32_t* c, std::int64_t ldc);
};
namespace avx512_vnni {
extern const SkinnyInt8Kernels skinny_int8_kernels;
}  // namespace avx512_vnni

}  // namespace shoal::kernels
