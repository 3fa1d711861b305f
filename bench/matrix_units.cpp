#include "matrix_units.hpp"

#include <shoal/runtime/isa.hpp>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace shoal::bench {
namespace {

// Two pipes with a latency of up to six cycles.
constexpr int dot_chains = 12;

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw,avx512bf16"))) void multiply_bf16(long rounds) {
  const __m512i ones = _mm512_set1_epi32(0x3f803f80);
  const auto factor = (__m512bh)ones;
  __m512 sums[dot_chains];
  for (auto& sum : sums) sum = _mm512_setzero_ps();
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_dpbf16_ps(sum, factor, factor);
  }
  for (auto& sum : sums) asm volatile("" : : "v"(sum));
}

__attribute__((target("avx512f,avx512vnni"))) void multiply_int8(long rounds) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sums[dot_chains];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_dpbusd_epi32(sum, ones, ones);
  }
  for (auto& sum : sums) asm volatile("" : : "v"(sum));
}
#endif

}  // namespace

double bf16_dot_loop([[maybe_unused]] long rounds) {
#if defined(__x86_64__)
  if (has_avx512_bf16()) {
    multiply_bf16(rounds);
    return dot_chains * 16 * 2 * 2.0;
  }
#endif
  return 0;
}

double int8_dot_loop([[maybe_unused]] long rounds) {
#if defined(__x86_64__)
  if (has_avx512_vnni()) {
    multiply_int8(rounds);
    return dot_chains * 16 * 4 * 2.0;
  }
#endif
  return 0;
}

}  // namespace shoal::bench
