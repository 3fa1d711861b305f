// What the processor can do at best, measured.
#pragma once

#include <string>

namespace shoal::bench {

/// GFLOP/s of fused multiply-adds that stay in registers, on all threads of this process; the best
/// of a few tries.
double fma_gflops();

/// GFLOP/s of a large fp32 product by OpenBLAS, on all threads of this process; the best of a few
/// tries.
double large_sgemm_gflops();

/// The same through shoal::kernels, for "fp32", "bf16" or "int8".
double large_gemm_gflops(const std::string& type);

}  // namespace shoal::bench
