#pragma once

#include <cstdint>

#include "dispatch.hpp"

namespace shoal::kernels {

/// Rows that a skinny product may have.
inline constexpr std::int64_t most_skinny_rows = 16;
/// Arranged rows are padded to a multiple of this many elements, which all kernels' steps divide.
inline constexpr std::int64_t skinny_step = 128;

/// C[m×n] = alpha·X·Wᵀ + beta·C for m up to most_skinny_rows. X is `arranged` by the function of the same
/// table: in the order in which the kernel meets it. W has n rows of k elements, ldw apart, and is read
/// once from memory.
template <class Weight>
using SkinnyProduct = void(std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
                           const float* x, const Weight* w, std::int64_t ldw, float beta, float* c,
                           std::int64_t ldc);
/// Row `i` of m, k elements, to its places in X, which has room for m padded rows. Parts of the rows that
/// meet a kernel in one step lie side by side: rows far apart would fall on the same few lines of the
/// first-level cache where k is a power of two.
template <class Element, class Arranged>
using ArrangeRow = void(std::int64_t m, std::int64_t i, std::int64_t k, const Element* row,
                        Arranged* x);

struct SkinnyKernels {
  ArrangeRow<float, float>* arrange;        ///< for fp32 and `rounded`
  ArrangeRow<float, float>* arrange_pairs;  ///< for bf16 weights
  SkinnyProduct<float>* fp32;
  SkinnyProduct<float>* rounded;  ///< weights are rounded to bf16 as they come
  SkinnyProduct<std::uint16_t>* bf16;
  /// C = X·Wᵀ in int32; null where the variant has no such instruction. Needs AVX-512 VNNI.
  ArrangeRow<std::int8_t, std::uint8_t>* arrange_int8;
  void (*int8)(std::int64_t m, std::int64_t n, std::int64_t k, const std::uint8_t* x,
               const std::int8_t* w, std::int64_t ldw, std::int32_t* c, std::int64_t ldc);
};

SHOAL_DECLARE_KERNELS(SkinnyKernels, skinny_kernels)

}  // namespace shoal::kernels
