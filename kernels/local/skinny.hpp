// Products of a few rows with the weights of a layer: what generating text is made of.
#pragma once

#include <shoal/kernels/local/gemm.hpp>

namespace shoal::kernels {

/// Whether the functions below are the ones to take: up to `most_rows` rows, weights in rows along k as
/// layers have them, and no library asked for by SHOAL_FP32_BACKEND or SHOAL_BF16_BACKEND.
bool is_skinny(Trans ta, Trans tb, Index m, Index most_rows);

/// Of weights in fp32, where a library would read them twice: to copy or convert them.
inline constexpr Index most_rows_of_fp32 = 128;
/// The same, multiplied in bf16. Where the processor has no dot products of bf16 in AVX-512, oneDNN's make up
/// from eight rows on for what it reads more.
Index most_rows_rounded();
/// Of weights in bf16; without these dot products oneDNN's are faster from six rows on.
Index most_rows_of_bf16();
/// Of weights in int8.
inline constexpr Index most_rows_of_int8 = 128;

/// C = alpha·A·Bᵀ + beta·C, A [m×k], B [n×k].
void skinny_fp32(Index m, Index n, Index k, float alpha, const float* a, Index lda, const float* b,
                 Index ldb, float beta, float* c, Index ldc);
/// The same with A and B rounded to bfloat16 on the way; no copy of B is made.
void skinny_rounded(Index m, Index n, Index k, float alpha, const float* a, Index lda,
                    const float* b, Index ldb, float beta, float* c, Index ldc);
/// C = A·Bᵀ of matrices stored in bfloat16.
void skinny_bf16(Index m, Index n, Index k, const bfloat16* a, Index lda, const bfloat16* b,
                 Index ldb, float* c, Index ldc);
/// C = A·Bᵀ, int32 sums in the memory of C. False, and nothing done, where this processor has no
/// VNNI or m is too large.
bool skinny_int8(Index m, Index n, Index k, const std::int8_t* a, Index lda, const std::int8_t* b,
                 Index ldb, float* c, Index ldc);

}  // namespace shoal::kernels
