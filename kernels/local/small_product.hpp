// Products of matrices that fit in the cache, for use inside one thread. To be included by
// *.simd.cpp files only.
#pragma once

#include "simd_math.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {

#if defined(SHOAL_SIMD_VARIANT_avx512)
inline constexpr int vector_floats = 16;
inline constexpr int tile_rows = 8;
#elif defined(SHOAL_SIMD_VARIANT_avx2)
inline constexpr int vector_floats = 8;
inline constexpr int tile_rows = 4;
#else
inline constexpr int vector_floats = 4;
inline constexpr int tile_rows = 4;
#endif
inline constexpr Index panel_floats = 2 * vector_floats;

typedef float Vector __attribute__((vector_size(vector_floats * 4)));
typedef float LooseVector __attribute__((vector_size(vector_floats * 4), aligned(4), may_alias));

/// A matrix whose element (i, j) lies at data[i·row + j·col].
struct Strided {
  const float* data;
  Index row, col;
};

/// A matrix of rows of `ld` elements, whose columns come in panels of panel_floats that lie `panel`
/// elements apart: panel = panel_floats is plain row-major.
struct Panels {
  const float* data;
  Index ld;
  Index panel = panel_floats;
};

// Rows × Vectors accumulators stay in registers while k passes.
template <int Rows, int Vectors>
inline void product_tile(Index k, const Strided& a, const float* b, Index ldb, float* c, Index ldc,
                         bool accumulate) {
  Vector sums[Rows][Vectors];
  for (int i = 0; i < Rows; ++i) {
    for (int v = 0; v < Vectors; ++v) {
      sums[i][v] = accumulate
                       ? *reinterpret_cast<const LooseVector*>(c + i * ldc + v * vector_floats)
                       : Vector{};
    }
  }
  const float* column = a.data;
  for (Index p = 0; p < k; ++p, column += a.col, b += ldb) {
    Vector row[Vectors];
    for (int v = 0; v < Vectors; ++v) {
      row[v] = *reinterpret_cast<const LooseVector*>(b + v * vector_floats);
    }
    for (int i = 0; i < Rows; ++i) {
      const float value = column[i * a.row];
      for (int v = 0; v < Vectors; ++v) sums[i][v] += value * row[v];
    }
  }
  for (int i = 0; i < Rows; ++i) {
    for (int v = 0; v < Vectors; ++v) {
      *reinterpret_cast<LooseVector*>(c + i * ldc + v * vector_floats) = sums[i][v];
    }
  }
}

template <int Rows>
inline void product_rows(Index n, Index k, const Strided& a, const Panels& b, float* c, Index ldc,
                         bool accumulate) {
  const float* panel = b.data;
  Index j = 0;
  for (; j + panel_floats <= n; j += panel_floats, panel += b.panel) {
    product_tile<Rows, 2>(k, a, panel, b.ld, c + j, ldc, accumulate);
  }
  for (; j + vector_floats <= n; j += vector_floats, panel += vector_floats) {
    product_tile<Rows, 1>(k, a, panel, b.ld, c + j, ldc, accumulate);
  }
  for (; j < n; ++j, ++panel) {
    for (int i = 0; i < Rows; ++i) {
      float sum = accumulate ? c[i * ldc + j] : 0.0f;
      for (Index p = 0; p < k; ++p) sum += a.data[i * a.row + p * a.col] * panel[p * b.ld];
      c[i * ldc + j] = sum;
    }
  }
}

/// C[m×n] = A[m×k]·B[k×n], or += where accumulate is set.
inline void small_product(Index m, Index n, Index k, Strided a, const Panels& b, float* c,
                          Index ldc, bool accumulate) {
  for (; m >= tile_rows; m -= tile_rows, a.data += tile_rows * a.row, c += tile_rows * ldc) {
    product_rows<tile_rows>(n, k, a, b, c, ldc, accumulate);
  }
  for (; m > 0; --m, a.data += a.row, c += ldc) {
    product_rows<1>(n, k, a, b, c, ldc, accumulate);
  }
}

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
