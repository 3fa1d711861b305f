#include "peak.hpp"

#include <cblas.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/isa.hpp>

#include "fma.hpp"
#include "matrix_units.hpp"

namespace shoal::bench {
namespace {

constexpr Index large = 1536;
constexpr int tries = 5;

double best_seconds(const std::function<void()>& call) {
  call();
  double best = 1e300;
  for (int i = 0; i < tries; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

double gflops(double seconds) {
  return 2e-9 * static_cast<double>(large) * static_cast<double>(large) *
         static_cast<double>(large) / seconds;
}

Buffer<float> filled() {
  Buffer<float> matrix(large * large);
  for (Index i = 0; i < matrix.size(); ++i) matrix[i] = static_cast<float>(i % 17) - 8.0f;
  return matrix;
}

struct Loops {
  FmaLoop* fma;
  ReadLoop* read;
};

Loops chosen_loops() {
  switch (selected_isa()) {
#ifdef SHOAL_SIMD_HAS_AVX512
    case Isa::avx512: return {avx512::fma_loop, avx512::read_loop};
#endif
#ifdef SHOAL_SIMD_HAS_AVX2
    case Isa::avx2: return {avx2::fma_loop, avx2::read_loop};
#endif
    default: return {baseline::fma_loop, baseline::read_loop};
  }
}

}  // namespace

double fma_gflops() {
  constexpr long rounds = 1 << 20;
  FmaLoop* const loop = chosen_loops().fma;
  double operations = 0;
  const double seconds = best_seconds([&] {
    double sum = 0;
#pragma omp parallel reduction(+ : sum)
    {
      volatile float kept = 0;
      float sink = 0;
      sum += static_cast<double>(rounds) * loop(rounds, &sink);
      kept = sink;
      (void)kept;
    }
    operations = sum;
  });
  return 1e-9 * operations / seconds;
}

double dot_gflops(const std::string& type) {
  constexpr long rounds = 1 << 20;
  const auto loop = type == "int8" ? int8_dot_loop : bf16_dot_loop;
  if (loop(1) == 0) return 0;
  double operations = 0;
  const double seconds = best_seconds([&] {
    double sum = 0;
#pragma omp parallel reduction(+ : sum)
    sum += static_cast<double>(rounds) * loop(rounds);
    operations = sum;
  });
  return 1e-9 * operations / seconds;
}

void read_memory(const void* data, Bytes bytes) {
  constexpr Bytes block = 512;
  ReadLoop* const loop = chosen_loops().read;
  const auto blocks = static_cast<Index>(bytes / block);
  unsigned seen = 0;
#pragma omp parallel reduction(^ : seen)
  {
    const Index threads = omp_get_num_threads();
    const Index begin = blocks * omp_get_thread_num() / threads;
    const Index end = blocks * (omp_get_thread_num() + 1) / threads;
    seen ^= loop(static_cast<const std::byte*>(data) + static_cast<Bytes>(begin) * block,
                 static_cast<long>(end - begin));
  }
  volatile unsigned kept = seen;
  (void)kept;
}

double large_sgemm_gflops() {
  const Buffer<float> a = filled();
  const Buffer<float> b = filled();
  const Buffer<float> c(large * large);
  const int n = static_cast<int>(large);
  return gflops(best_seconds([&] {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1.0f, a.data(), n, b.data(), n,
                0.0f, c.data(), n);
  }));
}

double large_gemm_gflops(const std::string& type) {
  const Buffer<float> c(large * large);
  if (type == "int8") {
    const Buffer<std::int8_t> a(large * large);
    const Buffer<float> scale(large);
    return gflops(best_seconds([&] {
      kernels::gemm_int8(large, large, large, a.data(), large, scale.data(), a.data(), large,
                         scale.data(), c.data(), large);
    }));
  }
  const Buffer<float> a = filled();
  const Buffer<float> b = filled();
  const auto precision = type == "bf16" ? kernels::Precision::bf16 : kernels::Precision::fp32;
  return gflops(best_seconds([&] {
    kernels::gemm(kernels::Trans::no, kernels::Trans::yes, large, large, large, 1.0f, a.data(),
                  large, b.data(), large, 0.0f, c.data(), large, precision);
  }));
}

double peak_gflops(const std::string& type) {
  if (type == "int8") return std::max(dot_gflops(type), large_gemm_gflops(type));
  if (type == "bf16" || type == "bf16s") {
    return std::max(dot_gflops("bf16"), large_gemm_gflops("bf16"));
  }
  return std::max({fma_gflops(), large_sgemm_gflops(), large_gemm_gflops("fp32")});
}

}  // namespace shoal::bench
