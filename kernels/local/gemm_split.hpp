// Products of fp32 matrices on bfloat16 units.
#pragma once

#include <string_view>

#include <shoal/kernels/local/gemm.hpp>

namespace shoal::kernels {

/// Whether products in Precision::bf16x2 and bf16x3 are split here: where that is faster than fp32
/// (AMX), or as SHOAL_BF16X_BACKEND says (split, fp32).
bool splits();

/// C = alpha·op(A)·op(B) + beta·C for positive extents, each operand the sum of `parts` (2 or 3)
/// bfloat16 matrices.
void gemm_split(int parts, Trans ta, Trans tb, Index m, Index n, Index k, float alpha,
                const float* a, Index lda, const float* b, Index ldb, float beta, float* c,
                Index ldc);

}  // namespace shoal::kernels
