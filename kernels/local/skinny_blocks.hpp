// How a product of a few rows is gone through: rows of X in blocks, each of which meets a few rows
// of W at a time.
//
// To be included by *.simd.cpp files only.
#pragma once

#if defined(SHOAL_SIMD_VARIANT_avx512) || defined(SHOAL_SIMD_VARIANT_avx2)
#include <immintrin.h>
#endif

#include "simd_math.hpp"
#include "skinny_kernels.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {

inline Index padded_row(Index k) { return (k + skinny_step - 1) / skinny_step * skinny_step; }

// m rows in as few blocks of at most `most` as there can be: `full` ones of `rows`, the rest one
// shorter.
struct RowBlocks {
  Index rows, full, count;

  static RowBlocks of(Index m, Index most) {
    const Index count = (m + most - 1) / most;
    const Index rows = (m + count - 1) / count;
    return {rows, m - count * (rows - 1), count};
  }
  // The place of row i of arranged rows of `padded` elements: where its first step lies, and how
  // far it is to the next one.
  void find(Index i, Index padded, Index step, Index* first, Index* stride) const {
    const bool in_full = i < full * rows;
    const Index mine = in_full ? rows : rows - 1;
    const Index at = in_full ? i : i - full * rows;
    const Index before = in_full ? 0 : full * rows;
    *first = (before + at / mine * mine) * padded + at % mine * step;
    *stride = mine * step;
  }
};

#if defined(SHOAL_SIMD_VARIANT_avx512)
/// Σ a, Σ b, Σ c, Σ d, of vectors of sixteen float or std::int32_t.
template <class Lanes>
inline void sums_of_four(Lanes a, Lanes b, Lanes c, Lanes d, void* sums) {
  typedef decltype(a[0] + a[0]) Four __attribute__((vector_size(16), may_alias, aligned(4)));
  const auto lower = [](Lanes x, Lanes y) {
    return __builtin_shufflevector(x, y, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  };
  const auto upper = [](Lanes x, Lanes y) {
    return __builtin_shufflevector(x, y, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15,
                                   31);
  };
  const Lanes ab = lower(a, b) + upper(a, b);
  const Lanes cd = lower(c, d) + upper(c, d);
  const Lanes abcd =
      __builtin_shufflevector(ab, cd, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
      __builtin_shufflevector(ab, cd, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  *static_cast<Four*>(sums) = (__builtin_shufflevector(abcd, abcd, 0, 1, 2, 3) +
                               __builtin_shufflevector(abcd, abcd, 4, 5, 6, 7)) +
                              (__builtin_shufflevector(abcd, abcd, 8, 9, 10, 11) +
                               __builtin_shufflevector(abcd, abcd, 12, 13, 14, 15));
}

/// put(i, j, sum) for each of these vectors.
template <int Rows, int Columns, class Lanes, class Put>
[[gnu::always_inline]] inline void for_sums_of(const Lanes (&lanes)[Rows][Columns],
                                               const Put& put) {
  constexpr int count = Rows * Columns;
  decltype(lanes[0][0][0] + lanes[0][0][0]) sums[(count + 3) / 4 * 4];
#pragma GCC unroll 8
  for (int at = 0; at < count; at += 4) {
    const auto vector = [&](int l) {
      return at + l < count ? lanes[(at + l) / Columns][(at + l) % Columns] : Lanes{};
    };
    sums_of_four(vector(0), vector(1), vector(2), vector(3), sums + at);
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) put(i, j, sums[i * Columns + j]);
  }
}
#else
#if defined(SHOAL_SIMD_VARIANT_avx2)
template <class Lanes>
inline float sum_of(Lanes v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
#else
template <class Lanes>
inline float sum_of(Lanes v) {
  return (v[0] + v[2]) + (v[1] + v[3]);
}
#endif

/// put(i, j, sum) for each of these vectors.
template <int Rows, int Columns, class Lanes, class Put>
[[gnu::always_inline]] inline void for_sums_of(const Lanes (&lanes)[Rows][Columns],
                                               const Put& put) {
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) put(i, j, sum_of(lanes[i][j]));
  }
}
#endif

// A Kernel says of what elements X, W and C are and in what vectors it sums (X, W, C, Sums), how
// long rows are and how far apart (k, ldw, ldc), how many rows of X fit in its registers
// (most_rows) with how many of W (columns_of), multiplies `step` elements of each, and says where a
// sum goes:
//   template <int Rows, int Columns>
//   static void add_step(const X* x, const W* w, Index ldw, Sums (&sums)[Rows][Columns]);
//   auto putter(const X* x, C* c) const;  // put(i, j, sum) for the block of rows at x

template <int Rows, int Columns, class Kernel>
inline void meet_tile(const Kernel& kernel, const typename Kernel::X* x,
                      const typename Kernel::W* w, typename Kernel::C* c) {
  using W = typename Kernel::W;
  constexpr Index step = Kernel::step;
  constexpr Index line = 64 / static_cast<Index>(sizeof(W));
  typename Kernel::Sums sums[Rows][Columns] = {};
  Index at = 0;
  for (; at + step <= kernel.k; at += step) {
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) {
      const W* const next = w + at + (j + Columns) * kernel.ldw;  // of the tile after this one
      for (Index ahead = 0; ahead < step; ahead += line) __builtin_prefetch(next + ahead);
    }
    Kernel::template add_step<Rows, Columns>(x + at * Rows, w + at, kernel.ldw, sums);
  }
  if (at < kernel.k) {
    W last[Columns][step] = {};
    for (int j = 0; j < Columns; ++j) {
      for (Index i = at; i < kernel.k; ++i) last[j][i - at] = w[j * kernel.ldw + i];
    }
    Kernel::template add_step<Rows, Columns>(x + at * Rows, last[0], step, sums);
  }
  for_sums_of(sums, kernel.putter(x, c));
}

template <int Rows, class Kernel>
inline void meet_rows(const Kernel& kernel, Index blocks, Index n, const typename Kernel::X* x,
                      const typename Kernel::W* w, typename Kernel::C* c) {
  constexpr int columns = Kernel::columns_of[Rows];
  const Index padded = padded_row(kernel.k);
  for (Index block = 0; block < blocks; ++block, x += Rows * padded, c += Rows * kernel.ldc) {
    Index j = 0;
    for (; j + columns <= n; j += columns) {
      meet_tile<Rows, columns>(kernel, x, w + j * kernel.ldw, c + j);
    }
    for (; j < n; ++j) meet_tile<Rows, 1>(kernel, x, w + j * kernel.ldw, c + j);
  }
}

template <int Rows, class Kernel>
inline void meet_blocks(const Kernel& kernel, const RowBlocks& blocks, Index n,
                        const typename Kernel::X* x, const typename Kernel::W* w,
                        typename Kernel::C* c) {
  if constexpr (Rows > 1) {
    if (blocks.rows != Rows) return meet_blocks<Rows - 1>(kernel, blocks, n, x, w, c);
  }
  // What a second block reads again of W comes from the second-level cache.
  constexpr Index cached = (Index{256} << 10) / static_cast<Index>(sizeof(*w));
  constexpr Index columns = Kernel::columns_of[Rows];
  const Index fit = blocks.count > 1 ? cached / (kernel.k + 1) / columns * columns : n;
  const Index group = fit < columns ? columns : fit;
  const Index padded = padded_row(kernel.k);
  for (Index j = 0; j < n; j += group, w += group * kernel.ldw, c += group) {
    const Index count = n - j < group ? n - j : group;
    meet_rows<Rows>(kernel, blocks.full, count, x, w, c);
    if constexpr (Rows > 1) {
      const Index past = blocks.full * Rows;
      meet_rows<Rows - 1>(kernel, blocks.count - blocks.full, count, x + past * padded, w,
                          c + past * kernel.ldc);
    }
  }
}

template <class Kernel>
void product_of_few_rows(const Kernel& kernel, Index m, Index n, const typename Kernel::X* x,
                         const typename Kernel::W* w, typename Kernel::C* c) {
  if (m <= 0) return;
  meet_blocks<Kernel::most_rows>(kernel, RowBlocks::of(m, Kernel::most_rows), n, x, w, c);
}

/// Row i of m to its places in X, `Step` elements at a time: `element(j)` is its element j.
template <Index Step, Index MostRows, class Arranged, class Element>
inline void arrange_row(Index m, Index i, Index k, Arranged* x, const Element& element) {
  Index first, stride;
  RowBlocks::of(m, MostRows).find(i, padded_row(k), Step, &first, &stride);
  Index at = 0;
  for (; at + Step <= k; at += Step, first += stride) {
    for (Index l = 0; l < Step; ++l) x[first + l] = element(at + l);
  }
  if (at < k) {
    for (Index l = 0; l < Step; ++l) x[first + l] = at + l < k ? element(at + l) : Arranged{};
  }
}

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
