#include "collectives/memory_loop.hpp"

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace shoal::bench::SHOAL_SIMD_VARIANT {
namespace {

// A cache line of words.
typedef std::uint32_t Line __attribute__((vector_size(64)));

Line load(const std::byte* at) {
  Line line;
  __builtin_memcpy(&line, at, sizeof line);
  return line;
}

void store(std::byte* at, const Line& line) { __builtin_memcpy(at, &line, sizeof line); }

void store_past_caches(std::byte* at, const Line& line) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(at), _mm512_loadu_si512(&line));
#elif defined(__x86_64__)
  for (int i = 0; i < 4; ++i) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(at) + i,
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(&line) + i));
  }
#else
  store(at, line);
#endif
}

template <int K, int J, bool past>
void loop(const std::byte* const* in, int in_count, std::byte* const* out, int out_count,
          std::size_t bytes) {
  const int inputs = K > 0 ? K : in_count;
  const int outputs = K > 0 ? J : out_count;
  for (std::size_t at = 0; at + sizeof(Line) <= bytes; at += sizeof(Line)) {
    Line sum = load(in[0] + at);
#pragma GCC unroll 4
    for (int k = 1; k < inputs; ++k) sum += load(in[k] + at);
#pragma GCC unroll 4
    for (int j = 0; j < outputs; ++j) {
      if (past) store_past_caches(out[j] + at, sum);
      else store(out[j] + at, sum);
    }
    if (outputs == 0) asm volatile("" : : "m"(sum));
  }
#if defined(__x86_64__)
  if (past) _mm_sfence();
#endif
}

template <bool past>
void choose(const std::byte* const* in, int in_count, std::byte* const* out, int out_count,
            std::size_t bytes) {
  if (in_count == 1 && out_count == 1) return loop<1, 1, past>(in, 1, out, 1, bytes);
  if (in_count == 2 && out_count == 2) return loop<2, 2, past>(in, 2, out, 2, bytes);
  if (in_count == 4 && out_count == 4) return loop<4, 4, past>(in, 4, out, 4, bytes);
  loop<0, 0, past>(in, in_count, out, out_count, bytes);
}

}  // namespace

void memory_loop(const std::byte* const* in, int in_count, std::byte* const* out, int out_count,
                 std::size_t bytes, bool past) {
  if (past) choose<true>(in, in_count, out, out_count, bytes);
  else choose<false>(in, in_count, out, out_count, bytes);
}

}  // namespace shoal::bench::SHOAL_SIMD_VARIANT
