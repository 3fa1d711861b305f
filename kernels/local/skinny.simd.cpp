// Products of a few rows: dot products along k, so that each weight is read once, in the order in which
// it lies. Up to four rows they take as long as reading the weights, at sixteen the multiply-adds do.
#if defined(SHOAL_SIMD_VARIANT_avx512) || defined(SHOAL_SIMD_VARIANT_avx2)
#include <immintrin.h>
#endif

#include "simd_math.hpp"
#include "skinny_kernels.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

// columns_of[m]: rows of W that m rows of X meet at a time. As many sums as fit in the registers; at
// least eight, which hide the latency of a multiply-add.
#if defined(SHOAL_SIMD_VARIANT_avx512)
constexpr int lanes = 16;
constexpr int most_rows = 8;
constexpr int columns_of[] = {0, 8, 6, 6, 5, 4, 4, 3, 3};
#elif defined(SHOAL_SIMD_VARIANT_avx2)
constexpr int lanes = 8;
constexpr int most_rows = 4;
constexpr int columns_of[] = {0, 6, 4, 3, 2};
#else
constexpr int lanes = 4;
constexpr int most_rows = 4;
constexpr int columns_of[] = {0, 6, 4, 3, 2};
#endif

typedef float Lanes __attribute__((vector_size(lanes * 4)));
typedef float LooseLanes __attribute__((vector_size(lanes * 4), aligned(4), may_alias));
typedef std::uint32_t Bits __attribute__((vector_size(lanes * 4)));
typedef std::uint32_t LooseBits __attribute__((vector_size(lanes * 4), aligned(2), may_alias));

// Halves by hand and with a mask: GCC 12 warns of its own header otherwise.
#if defined(SHOAL_SIMD_VARIANT_avx512) || defined(SHOAL_SIMD_VARIANT_avx2)
inline float sum_of_eight(__m256 v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
#endif

inline float sum_of(Lanes v) {
#if defined(SHOAL_SIMD_VARIANT_avx512)
  const __m256d lower = _mm512_maskz_extractf64x4_pd(0xf, _mm512_castps_pd(v), 0);
  const __m256d upper = _mm512_maskz_extractf64x4_pd(0xf, _mm512_castps_pd(v), 1);
  return sum_of_eight(_mm256_add_ps(_mm256_castpd_ps(lower), _mm256_castpd_ps(upper)));
#elif defined(SHOAL_SIMD_VARIANT_avx2)
  return sum_of_eight(v);
#else
  return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}

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

template <class Weights, int Rows, int Columns>
inline void add_step(const float* x, const typename Weights::Stored* w, Index ldw,
                     Lanes (&sums)[Rows][Columns]) {
  constexpr int vectors = Weights::vectors;
  Lanes weights[Columns][vectors];
  for (int j = 0; j < Columns; ++j) Weights::load(w + j * ldw, weights[j]);
  for (int i = 0; i < Rows; ++i) {
    for (int v = 0; v < vectors; ++v) {
      const Lanes value = *reinterpret_cast<const LooseLanes*>(x + (i * vectors + v) * lanes);
      for (int j = 0; j < Columns; ++j) sums[i][j] += value * weights[j][v];
    }
  }
}

template <class Weights, int Rows, int Columns>
inline void skinny_tile(Index k, float alpha, const float* x, const typename Weights::Stored* w,
                        Index ldw, float beta, float* c, Index ldc) {
  using Stored = typename Weights::Stored;
  constexpr int step = lanes * Weights::vectors;
  Lanes sums[Rows][Columns] = {};
  Index at = 0;
  for (; at + step <= k; at += step) {
    for (int j = 0; j < Columns; ++j) {
      __builtin_prefetch(w + at + (j + Columns) * ldw);  // for the tile after this one
    }
    add_step<Weights, Rows, Columns>(x + at * Rows, w + at, ldw, sums);
  }
  if (at < k) {
    Stored last[Columns][step] = {};
    for (int j = 0; j < Columns; ++j) {
      for (Index i = at; i < k; ++i) last[j][i - at] = w[j * ldw + i];
    }
    add_step<Weights, Rows, Columns>(x + at * Rows, last[0], step, sums);
  }
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Columns; ++j) {
      float& target = c[i * ldc + j];
      const float value = alpha * sum_of(sums[i][j]);
      target = beta == 0 ? value : value + beta * target;
    }
  }
}

inline Index padded_row(Index k) { return (k + skinny_step - 1) / skinny_step * skinny_step; }

// m rows in as few blocks of at most `most` as there can be: `full` ones of `rows`, the rest one shorter.
struct RowBlocks {
  Index rows, full, count;

  static RowBlocks of(Index m, Index most) {
    const Index count = (m + most - 1) / most;
    const Index rows = (m + count - 1) / count;
    return {rows, m - count * (rows - 1), count};
  }
  // The place of row i of arranged rows of `padded` elements: where its first step lies, and how far it is
  // to the next one.
  void find(Index i, Index padded, Index step, Index* first, Index* stride) const {
    const bool in_full = i < full * rows;
    const Index mine = in_full ? rows : rows - 1;
    const Index at = in_full ? i : i - full * rows;
    const Index before = in_full ? 0 : full * rows;
    *first = (before + at / mine * mine) * padded + at % mine * step;
    *stride = mine * step;
  }
};

// `full` blocks of Rows rows of X, then `others` of one less; all of them meet the same few rows of W,
// which come from the cache but for the first time.
template <class Weights, int Rows>
inline void skinny_blocks(Index full, Index others, Index n, Index k, float alpha, const float* x,
                          const typename Weights::Stored* w, Index ldw, float beta, float* c,
                          Index ldc) {
  const Index padded = padded_row(k);
  constexpr int columns = columns_of[Rows];
  const auto meet = [&]<int Columns>(Index j) {
    const float* row = x;
    float* out = c + j;
    for (Index block = 0; block < full; ++block, row += Rows * padded, out += Rows * ldc) {
      skinny_tile<Weights, Rows, Columns>(k, alpha, row, w + j * ldw, ldw, beta, out, ldc);
    }
    if constexpr (Rows > 1) {
      constexpr int fewer = Rows - 1;
      for (Index block = 0; block < others; ++block, row += fewer * padded, out += fewer * ldc) {
        skinny_tile<Weights, fewer, Columns>(k, alpha, row, w + j * ldw, ldw, beta, out, ldc);
      }
    }
  };
  Index j = 0;
  for (; j + columns <= n; j += columns) meet.template operator()<columns>(j);
  for (; j < n; ++j) meet.template operator()<1>(j);
}

template <class Weights>
void skinny_product(Index m, Index n, Index k, float alpha, const float* x,
                    const typename Weights::Stored* w, Index ldw, float beta, float* c,
                    Index ldc) {
  if (m <= 0) return;
  const auto [rows, full, blocks] = RowBlocks::of(m, most_rows);
  const auto run = [&, full = full, blocks = blocks]<int Rows>() {
    skinny_blocks<Weights, Rows>(full, blocks - full, n, k, alpha, x, w, ldw, beta, c, ldc);
  };
  switch (rows) {
    case 1: return run.template operator()<1>();
    case 2: return run.template operator()<2>();
    case 3: return run.template operator()<3>();
    case 4: return run.template operator()<4>();
#if defined(SHOAL_SIMD_VARIANT_avx512)
    case 5: return run.template operator()<5>();
    case 6: return run.template operator()<6>();
    case 7: return run.template operator()<7>();
    case 8: return run.template operator()<8>();
#endif
    default: return;
  }
}

void arrange(Index m, Index i, Index k, const float* row, float* x) {
  Index first, stride;
  RowBlocks::of(m, most_rows).find(i, padded_row(k), lanes, &first, &stride);
  for (Index at = 0; at < k; at += lanes, first += stride) {
    for (Index l = 0; l < lanes; ++l) x[first + l] = at + l < k ? row[at + l] : 0;
  }
}

void arrange_pairs(Index m, Index i, Index k, const float* row, float* x) {
  Index first, stride;
  RowBlocks::of(m, most_rows).find(i, padded_row(k), 2 * lanes, &first, &stride);
  for (Index at = 0; at < k; at += 2 * lanes, first += stride) {
    for (Index l = 0; l < lanes; ++l) {
      const Index even = at + 2 * l;
      x[first + l] = even < k ? row[even] : 0;
      x[first + lanes + l] = even + 1 < k ? row[even + 1] : 0;
    }
  }
}

#if defined(SHOAL_SIMD_VARIANT_avx512)
#define SHOAL_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

SHOAL_VNNI inline std::int32_t sum_of_int32(__m512i v) {
  const __m256i eight =
      _mm256_add_epi32(_mm512_maskz_extracti64x4_epi64(0xf, v, 0),
                       _mm512_maskz_extracti64x4_epi64(0xf, v, 1));
  const __m128i four =
      _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

constexpr Index most_int8_rows = 8;

// Σ (x + 128)·w − Σ 128·w. The sums may wrap around on the way; their difference fits.
template <int Rows, int Columns>
SHOAL_VNNI inline void int8_tile(Index k, const std::uint8_t* x, const std::int8_t* w, Index ldw,
                                 std::int32_t* c, Index ldc) {
  const __m512i offset = _mm512_set1_epi8(-128);  // 128 where unsigned
  __m512i sums[Rows][Columns];
  __m512i shares[Columns];
  for (int j = 0; j < Columns; ++j) {
    shares[j] = _mm512_setzero_si512();
    for (int i = 0; i < Rows; ++i) sums[i][j] = _mm512_setzero_si512();
  }
  for (Index at = 0; at < k; at += 64) {
    const __mmask64 mask = k - at >= 64 ? ~__mmask64{0} : (__mmask64{1} << (k - at)) - 1;
    __m512i weights[Columns];
    for (int j = 0; j < Columns; ++j) {
      weights[j] = _mm512_maskz_loadu_epi8(mask, w + j * ldw + at);
      __builtin_prefetch(w + (j + Columns) * ldw + at);
      shares[j] = _mm512_dpbusd_epi32(shares[j], offset, weights[j]);
    }
    for (int i = 0; i < Rows; ++i) {
      const __m512i value = _mm512_loadu_si512(x + at * Rows + i * 64);
      for (int j = 0; j < Columns; ++j) {
        sums[i][j] = _mm512_dpbusd_epi32(sums[i][j], value, weights[j]);
      }
    }
  }
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Columns; ++j) {
      c[i * ldc + j] = sum_of_int32(_mm512_sub_epi32(sums[i][j], shares[j]));
    }
  }
}

template <int Rows>
SHOAL_VNNI void int8_rows(Index n, Index k, const std::uint8_t* x, const std::int8_t* w, Index ldw,
                          std::int32_t* c, Index ldc) {
  constexpr int columns = Rows == 1 ? 6 : Rows <= 4 ? 4 : Rows <= 6 ? 3 : 2;
  Index j = 0;
  for (; j + columns <= n; j += columns) {
    int8_tile<Rows, columns>(k, x, w + j * ldw, ldw, c + j, ldc);
  }
  for (; j < n; ++j) int8_tile<Rows, 1>(k, x, w + j * ldw, ldw, c + j, ldc);
}

// Weights are a quarter of fp32's: what a second block of rows reads again comes from the cache if n·k
// is cut to fit it.
void int8_product(Index m, Index n, Index k, const std::uint8_t* x, const std::int8_t* w, Index ldw,
                  std::int32_t* c, Index ldc) {
  constexpr Index cached = Index{256} << 10;
  const Index group = k >= cached / 24 ? 24 : cached / (k + 1) / 24 * 24;
  const RowBlocks blocks = RowBlocks::of(m, most_int8_rows);
  const Index padded = padded_row(k);
  for (Index j = 0; j < n; j += group) {
    const Index count = n - j < group ? n - j : group;
    const std::uint8_t* row = x;
    std::int32_t* out = c + j;
    for (Index block = 0; block < blocks.count; ++block) {
      const Index rows = block < blocks.full ? blocks.rows : blocks.rows - 1;
      const std::int8_t* const columns = w + j * ldw;
      switch (rows) {
        case 1: int8_rows<1>(count, k, row, columns, ldw, out, ldc); break;
        case 2: int8_rows<2>(count, k, row, columns, ldw, out, ldc); break;
        case 3: int8_rows<3>(count, k, row, columns, ldw, out, ldc); break;
        case 4: int8_rows<4>(count, k, row, columns, ldw, out, ldc); break;
        case 5: int8_rows<5>(count, k, row, columns, ldw, out, ldc); break;
        case 6: int8_rows<6>(count, k, row, columns, ldw, out, ldc); break;
        case 7: int8_rows<7>(count, k, row, columns, ldw, out, ldc); break;
        default: int8_rows<8>(count, k, row, columns, ldw, out, ldc); break;
      }
      row += rows * padded;
      out += rows * ldc;
    }
  }
}

void arrange_int8(Index m, Index i, Index k, const std::int8_t* row, std::uint8_t* x) {
  Index first, stride;
  RowBlocks::of(m, most_int8_rows).find(i, padded_row(k), 64, &first, &stride);
  for (Index at = 0; at < k; at += 64, first += stride) {
    for (Index l = 0; l < 64; ++l) {
      const auto value = static_cast<std::uint8_t>(at + l < k ? row[at + l] : 0);
      x[first + l] = static_cast<std::uint8_t>(value ^ 0x80u);
    }
  }
}
#else
constexpr decltype(SkinnyKernels::int8) int8_product = nullptr;
constexpr decltype(SkinnyKernels::arrange_int8) arrange_int8 = nullptr;
#endif

}  // namespace

extern const SkinnyKernels skinny_kernels = {arrange,
                                             arrange_pairs,
                                             skinny_product<Fp32Weights>,
                                             skinny_product<RoundedWeights>,
                                             skinny_product<Bf16Weights>,
                                             arrange_int8,
                                             int8_product};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
