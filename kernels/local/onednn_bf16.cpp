#include "onednn_bf16.hpp"

#include <map>
#include <mutex>
#include <utility>

#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/isa.hpp>
#include <shoal/runtime/signals_held.hpp>


namespace shoal::kernels {
namespace {

struct Compiled {
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

Compiled compile(const Bf16Product& p) {
  using Type = dnnl::memory::data_type;
  const auto matrix = [](Index rows, Index cols, Trans t, Index ld, Type type) {
    const dnnl::memory::dims strides =
        t == Trans::no ? dnnl::memory::dims{ld, 1} : dnnl::memory::dims{1, ld};
    return dnnl::memory::desc({rows, cols}, type, strides);
  };
  const dnnl::matmul::desc product(matrix(p.m, p.k, p.ta, p.lda, Type::bf16),
                                   matrix(p.k, p.n, p.tb, p.ldb, Type::bf16),
                                   matrix(p.m, p.n, Trans::no, p.ldc, Type::f32));
  dnnl::primitive_attr attributes;
  if (p.alpha != 1) attributes.set_output_scales(0, {p.alpha});
  if (p.beta != 0) {
    dnnl::post_ops after;
    after.append_sum(p.beta);
    attributes.set_post_ops(after);
  }
  const dnnl::matmul::primitive_desc description(product, attributes, engine());
  return {description, dnnl::matmul(description)};
}

// Products differ by shape, and shapes are few; alpha and beta are 0, 1 or a constant of the model.
// The bound stops a caller with ever new shapes from filling the memory.
constexpr std::size_t most_compiled = 512;

Compiled compiled(const Bf16Product& product) {
  static std::mutex mutex;
  static std::map<std::pair<Bf16Product, int>, Compiled> cache;
  // oneDNN divides the work when it compiles, so the number of threads is part of the key.
  const std::pair key{product, omp_in_parallel() ? 1 : omp_get_max_threads()};
  const std::lock_guard lock(mutex);
  auto found = cache.find(key);
  if (found == cache.end()) {
    if (cache.size() >= most_compiled) cache.clear();
    found = cache.emplace(key, compile(product)).first;
  }
  return found->second;
}

}  // namespace

void onednn_gemm_bf16(const Bf16Product& product, const bfloat16* a, const bfloat16* b, float* c) {
  try {
    const Compiled ready = compiled(product);
    thread_local dnnl::stream stream(engine());
    const auto memory = [](const dnnl::memory::desc& description, const void* data) {
      return dnnl::memory(description, engine(), const_cast<void*>(data));
    };
    const SignalsHeld held;
    ready.primitive.execute(stream,
                            {{DNNL_ARG_SRC, memory(ready.description.src_desc(), a)},
                             {DNNL_ARG_WEIGHTS, memory(ready.description.weights_desc(), b)},
                             {DNNL_ARG_DST, memory(ready.description.dst_desc(), c)}});
    stream.wait();
  } catch (const dnnl::error& error) {
    throw Error("gemm in bf16", std::string("oneDNN: ") + error.what(),
                "set SHOAL_BF16_BACKEND=rounded");
  }
}

std::string_view onednn_bf16_arithmetic() {
  // Linux lets a process use the tile registers only if it asks: this does.
  const bool tiles = has_amx_bf16();
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::avx512_core_amx: return tiles ? "amx_bf16" : "avx512_bf16";
    case dnnl::cpu_isa::avx512_core_bf16: return "avx512_bf16";
    case dnnl::cpu_isa::avx512_core:
    case dnnl::cpu_isa::avx512_core_vnni: return "emulated";
    default: return "";
  }
}

std::string onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return "oneDNN " + std::to_string(version->major) + '.' + std::to_string(version->minor) + '.' +
         std::to_string(version->patch);
}

}  // namespace shoal::kernels
