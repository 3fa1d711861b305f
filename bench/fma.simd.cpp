// Two loops: fused multiply-adds in registers, as many chains as hide the latency of one; and loads.
#include "fma.hpp"

namespace shoal::bench::SHOAL_SIMD_VARIANT {

#if defined(SHOAL_SIMD_VARIANT_avx512)
constexpr int bytes = 64;
#elif defined(SHOAL_SIMD_VARIANT_avx2)
constexpr int bytes = 32;
#else
constexpr int bytes = 16;
#endif
constexpr int lanes = bytes / 4;
typedef float Vector __attribute__((vector_size(bytes)));

double fma_loop(long rounds, float* sink) {
  // Two pipes with a latency of four or five cycles: ten chains would do, twelve fit any register
  // file.
  constexpr int chains = 12;
  Vector sums[chains];
  Vector factor, term;
  for (int lane = 0; lane < lanes; ++lane) {
    factor[lane] = 0.999f + 1e-6f * static_cast<float>(lane);
    term[lane] = 1e-3f;
  }
  for (int i = 0; i < chains; ++i) sums[i] = term * static_cast<float>(i);
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sums[i] = sums[i] * factor + term;
  }
  float total = 0;
  for (int i = 0; i < chains; ++i) {
    for (int lane = 0; lane < lanes; ++lane) total += sums[i][lane];
  }
  *sink = total;
  return 2.0 * chains * lanes;
}

unsigned read_loop(const void* blocks, long count) {
  typedef unsigned Words __attribute__((vector_size(bytes), aligned(4), may_alias));
  constexpr int loads = 512 / bytes;
  const auto* at = static_cast<const Words*>(blocks);
  Words sums[4] = {};
  for (long block = 0; block < count; ++block, at += loads) {
#pragma GCC unroll 32
    for (int i = 0; i < loads; ++i) sums[i % 4] ^= at[i];
  }
  const Words all = (sums[0] ^ sums[1]) ^ (sums[2] ^ sums[3]);
  unsigned total = 0;
  for (int lane = 0; lane < lanes; ++lane) total ^= all[lane];
  return total;
}

}  // namespace shoal::bench::SHOAL_SIMD_VARIANT
