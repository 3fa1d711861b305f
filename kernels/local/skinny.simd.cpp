// Products of a few rows: dot products along k, so that each weight is read once, in the order in which
// it lies. Up to four rows they take as long as reading the weights, at sixteen the multiply-adds do.
#include "skinny_blocks.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

// Columns that m rows of X meet at a time: as many sums as fit in the registers; at least eight, which hide
// the latency of a multiply-add.
#if defined(SHOAL_SIMD_VARIANT_avx512)
constexpr int lanes = 16;
constexpr int rows_at_a_time = 8;
constexpr int columns_for[] = {0, 8, 6, 6, 5, 4, 4, 3, 3};
#elif defined(SHOAL_SIMD_VARIANT_avx2)
constexpr int lanes = 8;
constexpr int rows_at_a_time = 4;
constexpr int columns_for[] = {0, 6, 4, 3, 2};
#else
constexpr int lanes = 4;
constexpr int rows_at_a_time = 4;
constexpr int columns_for[] = {0, 6, 4, 3, 2};
#endif

typedef float Lanes __attribute__((vector_size(lanes * 4)));
typedef float LooseLanes __attribute__((vector_size(lanes * 4), aligned(4), may_alias));
typedef std::uint32_t Bits __attribute__((vector_size(lanes * 4)));
typedef std::uint32_t LooseBits __attribute__((vector_size(lanes * 4), aligned(2), may_alias));

struct Fp32Weights {
  using Stored = float;
  static constexpr int vectors = 1;
  static void load(const float* w, Lanes* out) { *out = *reinterpret_cast<const LooseLanes*>(w); }
};

struct RoundedWeights {
  using Stored = float;
  static constexpr int vectors = 1;
  static void load(const float* w, Lanes* out) {
    const Bits bits = reinterpret_cast<Bits>(Lanes(*reinterpret_cast<const LooseLanes*>(w)));
    const Bits rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    const Bits kept = (bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x00400000u : rounded;  // NaN
    *out = reinterpret_cast<Lanes>(kept & 0xffff0000u);
  }
};

// Two neighbours share a 32-bit lane: a shift makes a float of the one, a mask of the other.
struct Bf16Weights {
  using Stored = std::uint16_t;
  static constexpr int vectors = 2;
  static void load(const std::uint16_t* w, Lanes* out) {
    const Bits pairs = *reinterpret_cast<const LooseBits*>(w);
    out[0] = reinterpret_cast<Lanes>(pairs << 16);
    out[1] = reinterpret_cast<Lanes>(pairs & 0xffff0000u);
  }
};

template <class Weights>
struct FloatDots {
  using X = float;
  using W = typename Weights::Stored;
  using C = float;
  using Sums = Lanes;
  static constexpr int most_rows = rows_at_a_time;
  static constexpr auto& columns_of = columns_for;
  static constexpr int vectors = Weights::vectors;
  static constexpr int step = lanes * vectors;

  Index k, ldw, ldc;
  float alpha, beta;

  template <int Rows, int Columns>
  [[gnu::always_inline]] static void add_step(const float* x, const W* w, Index ldw, Lanes (&sums)[Rows][Columns]) {
    Lanes weights[Columns][vectors];
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) Weights::load(w + j * ldw, weights[j]);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        const Lanes value = *reinterpret_cast<const LooseLanes*>(x + (i * vectors + v) * lanes);
#pragma GCC unroll 8
        for (int j = 0; j < Columns; ++j) sums[i][j] += value * weights[j][v];
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
void skinny_product(Index m, Index n, Index k, float alpha, const float* x,
                    const typename Weights::Stored* w, Index ldw, float beta, float* c,
                    Index ldc) {
  product_of_few_rows(FloatDots<Weights>{k, ldw, ldc, alpha, beta}, m, n, x, w, c);
}

void arrange(Index m, Index i, Index k, const float* row, float* x) {
  arrange_row<lanes, rows_at_a_time>(m, i, k, x, [&](Index j) { return row[j]; });
}

// The even elements of a step, then the odd ones.
void arrange_pairs(Index m, Index i, Index k, const float* row, float* x) {
  Index first, stride;
  RowBlocks::of(m, rows_at_a_time).find(i, padded_row(k), 2 * lanes, &first, &stride);
  for (Index at = 0; at < k; at += 2 * lanes, first += stride) {
    for (Index l = 0; l < lanes; ++l) {
      const Index even = at + 2 * l;
      x[first + l] = even < k ? row[even] : 0;
      x[first + lanes + l] = even + 1 < k ? row[even + 1] : 0;
    }
  }
}

}  // namespace

extern const SkinnyKernels skinny_kernels = {arrange, arrange_pairs, skinny_product<Fp32Weights>,
                                             skinny_product<RoundedWeights>,
                                             skinny_product<Bf16Weights>};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
