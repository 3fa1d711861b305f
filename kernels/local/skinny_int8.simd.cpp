// Products of a few rows of bytes, exact, by AVX-512 VNNI: Σ x·(w + 128) − 128·Σ x, since the
// instruction multiplies signed bytes by unsigned ones.
#include <immintrin.h>

#include "skinny_blocks.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

typedef std::int32_t Ints __attribute__((vector_size(64)));

struct Int8Dots {
  using X = std::int8_t;
  using W = std::int8_t;
  using C = std::int32_t;
  using Sums = Ints;
  static constexpr int most_rows = 8;
  static constexpr int columns_of[] = {0, 8, 6, 6, 6, 4, 4, 3, 3};
  static constexpr Index step = 64;

  Index k, ldw, ldc;
  const std::int32_t* row_sums;  // of the rows of X, in their order
  const X* first;                // of X

  template <int Rows, int Columns>
  [[gnu::always_inline]] static void add_step(const X* x, const W* w, Index ldw,
                                              Ints (&sums)[Rows][Columns]) {
    const __m512i offset = _mm512_set1_epi8(-128);
    __m512i weights[Columns];
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) {
      weights[j] = _mm512_xor_si512(_mm512_loadu_si512(w + j * ldw), offset);
    }
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const __m512i value = _mm512_loadu_si512(x + i * step);
#pragma GCC unroll 8
      for (int j = 0; j < Columns; ++j) {
        sums[i][j] = (Ints)_mm512_dpbusd_epi32((__m512i)sums[i][j], weights[j], value);
      }
    }
  }

  // Sums may wrap around on the way; their difference fits.
  auto putter(const X* x, C* c) const {
    return [this, c, of_rows = row_sums + (x - first) / padded_row(k)](int i, int j,
                                                                       std::int32_t sum) {
      const std::uint32_t excess = static_cast<std::uint32_t>(of_rows[i]) * 128u;
      c[i * ldc + j] = static_cast<std::int32_t>(static_cast<std::uint32_t>(sum) - excess);
    };
  }
};

void product(Index m, Index n, Index k, const std::int8_t* x, const std::int32_t* row_sums,
             const std::int8_t* w, Index ldw, std::int32_t* c, Index ldc) {
  product_of_few_rows(Int8Dots{k, ldw, ldc, row_sums, x}, m, n, x, w, c);
}

std::int32_t arrange(Index m, Index i, Index k, const std::int8_t* row, std::int8_t* x) {
  arrange_row<Int8Dots::step, Int8Dots::most_rows>(m, i, k, x, [&](Index j) { return row[j]; });
  std::int32_t sum = 0;
  for (Index j = 0; j < k; ++j) sum += row[j];
  return sum;
}

}  // namespace

extern const SkinnyInt8Kernels skinny_int8_kernels = {arrange, product};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
