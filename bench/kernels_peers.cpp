#include "kernels_peers.hpp"

#include <cblas.h>

#include <memory>
#include <utility>

#include <oneapi/dnnl/dnnl.hpp>

namespace shoal::bench {
namespace {

using DnnlType = dnnl::memory::data_type;

const dnnl::engine& dnnl_cpu() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& dnnl_stream() {
  static dnnl::stream stream(dnnl_cpu());
  return stream;
}

dnnl::memory::desc plain(Index rows, Index cols, DnnlType type, bool transposed = false) {
  return {{rows, cols},
          type,
          transposed ? dnnl::memory::dims{1, rows} : dnnl::memory::dims{cols, 1}};
}

// The product where a operand as it lies (`from`) is reordered first if the product wants it otherwise.
struct DnnlProduct {
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
  dnnl::memory from[2], to[2], c;

  DnnlProduct(const dnnl::memory::desc& lies_a, const dnnl::memory::desc& wants_a,
              const dnnl::memory::desc& lies_b, const dnnl::memory::desc& wants_b,
              const dnnl::memory::desc& result, const void* a, const void* b, void* out)
      : description({wants_a, wants_b, result}, dnnl_cpu()),
        primitive(description),
        from{{lies_a, dnnl_cpu(), const_cast<void*>(a)}, {lies_b, dnnl_cpu(), const_cast<void*>(b)}},
        c(result, dnnl_cpu(), out) {
    const dnnl::memory::desc wanted[2] = {description.src_desc(), description.weights_desc()};
    for (int i = 0; i < 2; ++i) {
      to[i] = wanted[i] == from[i].get_desc() ? from[i] : dnnl::memory(wanted[i], dnnl_cpu());
    }
  }

  void run() {
    for (int i = 0; i < 2; ++i) {
      if (to[i].get() != from[i].get()) {
        dnnl::reorder(from[i], to[i]).execute(dnnl_stream(), from[i], to[i]);
      }
    }
    primitive.execute(dnnl_stream(), {{DNNL_ARG_SRC, to[0]},
                                      {DNNL_ARG_WEIGHTS, to[1]},
                                      {DNNL_ARG_DST, c}});
    dnnl_stream().wait();
  }
};

std::vector<KernelPeer> onednn_products(const GemmShape& s, DnnlType stored, DnnlType type,
                                        DnnlType result, const void* a, const void* b, void* c) {
  std::vector<KernelPeer> peers;
  const dnnl::memory::desc any({s.k, s.n}, type, dnnl::memory::format_tag::any);
  for (const auto& [name, wants_b] :
       {std::pair{"oneDNN matmul", plain(s.k, s.n, type, true)}, {"oneDNN matmul, packed", any}}) {
    try {
      const auto product = std::make_shared<DnnlProduct>(
          plain(s.m, s.k, stored), plain(s.m, s.k, type), plain(s.k, s.n, stored, true), wants_b,
          plain(s.m, s.n, result), a, b, c);
      peers.push_back({name, [product] { product->run(); }});
    } catch (const dnnl::error&) {
      // Not on this processor.
    }
  }
  return peers;
}

}  // namespace

void openblas_product(const GemmShape& shape, const float* a, const float* b, float* c) {
  const auto m = static_cast<int>(shape.m), n = static_cast<int>(shape.n),
             k = static_cast<int>(shape.k);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1.0f, a, k, b, k, 0.0f, c, n);
}

std::vector<KernelPeer> onednn_bf16_products(const GemmShape& shape, const float* a,
                                             const float* b, float* c) {
  return onednn_products(shape, DnnlType::f32, DnnlType::bf16, DnnlType::f32, a, b, c);
}

std::vector<KernelPeer> onednn_bf16_products(const GemmShape& shape, const bfloat16* a,
                                             const bfloat16* b, float* c) {
  return onednn_products(shape, DnnlType::bf16, DnnlType::bf16, DnnlType::f32, a, b, c);
}

std::vector<KernelPeer> onednn_int8_products(const GemmShape& shape, const std::int8_t* a,
                                             const std::int8_t* b, std::int32_t* c) {
  auto peers =
      onednn_products(shape, DnnlType::s8, DnnlType::s8, DnnlType::s32, a, b, c);
  const auto [m, n, k] = shape;
  peers.push_back({"oneDNN gemm_s8s8s32", [m = m, n = n, k = k, a, b, c] {
                     const std::int32_t no_offset = 0;
                     dnnl_gemm_s8s8s32('N', 'T', 'F', m, n, k, 1.0f, a, k, 0, b, k, 0, 0.0f, c, n,
                                       &no_offset);
                   }});
  return peers;
}

}  // namespace shoal::bench
