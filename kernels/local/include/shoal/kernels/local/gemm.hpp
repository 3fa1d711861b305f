// Matrix products of one process: fp32, bf16 and int8.
#pragma once

#include <cstdint>
#include <string>

#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// Whether an operand is taken as it lies or transposed.
enum class Trans { no, yes };

/// Arithmetic of a product; storage stays fp32.
enum class Precision {
  fp32,
  /// Both operands are rounded to bfloat16 (nearest, ties to even), the products are accumulated in fp32.
  bf16,
  /// Both operands are taken as sums of two (x2) or three (x3) bfloat16 numbers, whose products on bf16
  /// units are accumulated in fp32; plain fp32 where that is faster, which it is without AMX. With
  /// u = 2^-24 and S = Σ|a|·|b| of an element, its error is at most (768 + 3k)·u·S for x2 and
  /// (5 + 6k)·u·S for x3, where fp32 has k·u·S; but numbers below 2^-100 may count as 0, and where an
  /// operand is infinite the result is infinite or NaN.
  bf16x2,
  bf16x3
};

/// C[m×n] = alpha·op(A)·op(B) + beta·C, all row-major; op(A) is m×k and op(B) is k×n. lda, ldb and
/// ldc are the distances between rows, in elements, of the matrices as stored. With beta == 0 C is
/// written without being read, so that NaN in it does not spread; with alpha == 0 neither A nor B is
/// read. Extents may be 0. Runs on the caller's omp_get_max_threads() threads.
///
/// The environment chooses the library, for tests and measurements: SHOAL_FP32_BACKEND=openblas or
/// onednn, SHOAL_BF16_BACKEND=onednn or rounded (operands rounded to bf16, then the fp32 product:
/// the same numerics, faster where the processor has no bf16 arithmetic), SHOAL_BF16X_BACKEND=split or
/// fp32. Left to itself, a product of up to 16 rows with weights in rows along k (ta no, tb yes) is done
/// by kernels of Shoal's own, which read the weights once and copy nothing. SHOAL_LOG=kernels tells what
/// was taken.
///
/// Throws Error on a negative extent, a leading dimension shorter than a row, or extents above 2^31.
void gemm(Trans ta, Trans tb, Index m, Index n, Index k, float alpha, const float* a, Index lda,
          const float* b, Index ldb, float beta, float* c, Index ldc,
          Precision precision = Precision::fp32);

/// C[m×n] = op(A)·op(B) for operands stored in bfloat16; C is fp32 and is written without being read.
/// Otherwise as gemm with Precision::bf16.
void gemm_bf16(Trans ta, Trans tb, Index m, Index n, Index k, const bfloat16* a, Index lda,
               const bfloat16* b, Index ldb, float* c, Index ldc);

/// C[i,j] = a_scale[i]·b_scale[j]·Σ A[i,·]·B[j,·] with A [m×k] and B [n×k] (a row of B is an output
/// channel). The sum is exact in int32; only the scaling rounds. a_scale may be null (all 1).
/// Throws Error if k exceeds 131071, where an int32 could overflow, or as gemm does.
void gemm_int8(Index m, Index n, Index k, const std::int8_t* a, Index lda, const float* a_scale,
               const std::int8_t* b, Index ldb, const float* b_scale, float* c, Index ldc);

/// Symmetric quantisation of each row: scale[r] = max|x[r,·]|/127, q = round(x/scale), ties to even.
/// A row of zeros gets scale 0. A row with a NaN or infinity gets scale NaN and q of 0: the products
/// become NaN, as they would in fp32 arithmetic, instead of some plausible number.
void quantize_rows(Index rows, Index cols, const float* x, std::int8_t* q, float* scale);

/// What computes the products here, for reports: "oneDNN 2.6.3 sgemm",
/// "OpenBLAS 0.3.21 sgemm (SkylakeX, openmp)".
std::string gemm_backend(Precision precision);
/// The same for gemm_int8.
std::string gemm_backend_int8();

}  // namespace shoal::kernels
