// What the processor can do at best, measured.
#pragma once

#include <string>

#include <shoal/runtime/units.hpp>

namespace shoal::bench {

/// GFLOP/s of fused multiply-adds that stay in registers, on all threads of this process; the best
/// of a few tries.
double fma_gflops();

/// The same of the instructions for "bf16" or "int8" products; 0 where the processor has none. (AMX is
/// measured by large_gemm_gflops() only.)
double dot_gflops(const std::string& type);

/// Reads memory once, on all threads of this process.
void read_memory(const void* data, Bytes bytes);

/// GFLOP/s of a large fp32 product by OpenBLAS, on all threads of this process; the best of a few
/// tries.
double large_sgemm_gflops();

/// The same through shoal::kernels, for "fp32", "bf16" or "int8".
double large_gemm_gflops(const std::string& type);

/// What the processor can do in this type ("fp32", "bf16", "bf16s", "int8"; bf16x2 and bf16x3 are fp32's),
/// on all threads of this process: the best of a loop in registers and a large product, in GFLOP/s.
double peak_gflops(const std::string& type);

}  // namespace shoal::bench
