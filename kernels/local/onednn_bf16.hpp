// bf16 products by oneDNN.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include <shoal/kernels/local/gemm.hpp>

namespace shoal::kernels {

/// Everything that a compiled product depends on, besides the number of threads.
struct Bf16Product {
  Trans ta, tb;
  Index m, n, k;
  Index lda, ldb, ldc;
  float alpha, beta;

  friend auto operator<=>(const Bf16Product&, const Bf16Product&) = default;
};

/// C = alpha·op(A)·op(B) + beta·C for positive extents. Products are compiled once for each
/// description and kept; may be called by several threads at once.
void onednn_gemm_bf16(const Bf16Product& product, const bfloat16* a, const bfloat16* b, float* c);

/// How oneDNN would multiply bf16 here: "amx_bf16", "avx512_bf16", "emulated" (in fp32 arithmetic), or
/// empty if it cannot. Heeds ONEDNN_MAX_CPU_ISA.
std::string_view onednn_bf16_arithmetic();

/// "oneDNN 2.6.3"
std::string onednn_version();

}  // namespace shoal::kernels
