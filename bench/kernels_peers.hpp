// Matrix products by the libraries, called plainly.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <shoal/bench/bench.hpp>
#include <shoal/kernels/local/gemm.hpp>

namespace shoal::bench {

/// A way of a library to do the product.
struct KernelPeer {
  std::string name;
  std::function<void()> call;
};

/// c[m×n] = a[m×k]·b[n×k]ᵀ by OpenBLAS in fp32.
void openblas_product(const GemmShape& shape, const float* a, const float* b, float* c);

/// By oneDNN with bf16 arithmetic from fp32 operands: converted to plain matrices, and with b converted
/// to the layout that oneDNN likes best, each time. Empty where oneDNN cannot.
std::vector<KernelPeer> onednn_bf16_products(const GemmShape& shape, const float* a,
                                             const float* b, float* c);
/// The same from operands in bf16: as they lie, and with b packed each time.
std::vector<KernelPeer> onednn_bf16_products(const GemmShape& shape, const bfloat16* a,
                                             const bfloat16* b, float* c);
/// From int8 operands to int32 sums: as they lie by matmul and by gemm_s8s8s32, and with b packed.
std::vector<KernelPeer> onednn_int8_products(const GemmShape& shape, const std::int8_t* a,
                                             const std::int8_t* b, std::int32_t* c);

}  // namespace shoal::bench
