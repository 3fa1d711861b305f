// Products of a few rows in bf16 by the processor's dot products: pairs of neighbours along k, two
// multiply-adds a lane. Up to sixteen rows they take little longer than reading the weights.
#include <immintrin.h>

#include "skinny_blocks.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

typedef float Lanes __attribute__((vector_size(64)));

struct RoundedPairs {
  using Stored = float;
  static __m512bh load(const float* w) {
    return _mm512_cvtne2ps_pbh(_mm512_loadu_ps(w + 16), _mm512_loadu_ps(w));
  }
};

struct StoredPairs {
  using Stored = std::uint16_t;
  static __m512bh load(const std::uint16_t* w) { return (__m512bh)_mm512_loadu_si512(w); }
};

template <class Weights>
struct Bf16Dots {
  using X = std::uint16_t;
  using W = typename Weights::Stored;
  using C = float;
  using Sums = Lanes;
  static constexpr int most_rows = 8;
  static constexpr int columns_of[] = {0, 8, 6, 6, 5, 4, 4, 3, 3};
  static constexpr Index step = 32;

  Index k, ldw, ldc;
  float alpha, beta;

  template <int Rows, int Columns>
  [[gnu::always_inline]] static void add_step(const X* x, const W* w, Index ldw,
                                              Lanes (&sums)[Rows][Columns]) {
    __m512bh weights[Columns];
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) weights[j] = Weights::load(w + j * ldw);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const auto value = (__m512bh)_mm512_loadu_si512(x + i * step);
#pragma GCC unroll 8
      for (int j = 0; j < Columns; ++j) {
        sums[i][j] = (Lanes)_mm512_dpbf16_ps((__m512)sums[i][j], value, weights[j]);
      }
    }
  }

  auto putter(const X*, C* c) const {
    return [this, c](int i, int j, float sum) {
      float& out = c[i * ldc + j];
      out = beta == 0 ? alpha * sum : alpha * sum + beta * out;
    };
  }
};

template <class Weights>
void product(Index m, Index n, Index k, float alpha, const std::uint16_t* x,
             const typename Weights::Stored* w, Index ldw, float beta, float* c, Index ldc) {
  product_of_few_rows(Bf16Dots<Weights>{k, ldw, ldc, alpha, beta}, m, n, x, w, c);
}

void arrange(Index m, Index i, Index k, const std::uint16_t* row, std::uint16_t* x) {
  arrange_row<32, Bf16Dots<StoredPairs>::most_rows>(m, i, k, x, [&](Index j) { return row[j]; });
}

}  // namespace

extern const SkinnyBf16Kernels skinny_bf16_kernels = {arrange, product<RoundedPairs>,
                                                      product<StoredPairs>};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
