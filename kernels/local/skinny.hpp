// Products of a few rows with the weights of a layer: what generating text is made of.
#pragma once

#include <shoal/kernels/local/gemm.hpp>

namespace shoal::kernels {

/// Whether the functions below are the ones to take: up to `most_rows` rows, weights in rows along k as
/// layers have them, and no library asked for by SHOAL_FP32_BACKEND or SHOAL_BF16_BACKEND.
bool is_skinny(Trans ta, Trans tb, Index m, Index most_rows);

// The most rows for which these functions are quicker than the libraries, weights [n×k]; two cores of an EPYC
// (Zen 4). Libraries copy the weights, or convert them, before they multiply: what that costs is most where the
// weights do not stay in the caches, or where their rows are long, as they then pack columns from far apart.
/// Weights in fp32.
Index most_rows_of_fp32(Index k);
/// The same, multiplied in bf16.
Index most_rows_rounded(Index n, Index k);
/// Weights in bf16.
Index most_rows_of_bf16(Index n, Index k);
/// Weights in int8.
Index most_rows_of_int8(Index n, Index k);

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
/// VNNI or m is too large for it.
bool skinny_int8(Index m, Index n, Index k, const std::int8_t* a, Index lda, const std::int8_t* b,
                 Index ldb, float* c, Index ldc);

}  // namespace shoal::kernels
