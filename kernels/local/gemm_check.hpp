#pragma once

#include <shoal/kernels/local/gemm.hpp>

namespace shoal::kernels {

/// Throws Error if extents are negative or above 2^31 − 1, or rows of A, B or C overlap.
void check_gemm(const char* operation, Trans ta, Trans tb, Index m, Index n, Index k, Index lda,
                Index ldb, Index ldc);

/// True where gemm has bf16 operands multiplied in hardware, not as rounded floats.
bool multiplies_bf16();

}  // namespace shoal::kernels
