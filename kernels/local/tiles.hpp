// Division of a product C[m×n] among the caller's OpenMP threads, a tile of C each.
#pragma once

#include <algorithm>

#include <omp.h>

#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

struct Tile {
  Index row, rows, column, columns;
};

/// body(tile) for tiles that make up C, whose sums run over k, at the same time; the whole of C
/// where there is one thread, or less to do than to wake another costs. To pack an element of A is
/// taken to cost as much as `packing` multiply-adds, and column_cost times that an element of B.
template <class Body>
void over_tiles(Index m, Index n, Index k, double column_cost, const Body& body) {
  constexpr double least_products = 1 << 18;  // of a thread
  const double wanted =
      static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / least_products;
  const int threads =
      omp_in_parallel() ? 1 : static_cast<int>(std::min<double>(omp_get_max_threads(), wanted));
  if (threads <= 1) return body(Tile{0, m, 0, n});
  // What the registers of oneDNN's kernels hold of C.
  constexpr Index row_align = 8, column_align = 48;
  constexpr double packing = 20;
  const auto longest = [](Index extent, Index align, int parts) {
    const Index blocks = (extent + align - 1) / align;
    return static_cast<double>(std::min(extent, (blocks + parts - 1) / parts * align));
  };
  const auto cost = [&](int down) {
    const double rows = longest(m, row_align, down);
    const double columns = longest(n, column_align, threads / down);
    return rows * columns + packing * (rows + column_cost * columns);
  };
  int down = 1;  // tiles below each other
  for (int parts = 2; parts <= threads; ++parts) {
    if (threads % parts == 0 && cost(parts) < cost(down)) down = parts;
  }
  const int across = threads / down;
  const auto cut = [](Index extent, Index align, int part, int parts) {
    const Index blocks = (extent + align - 1) / align;
    return std::min(extent, blocks * part / parts * align);
  };
#pragma omp parallel num_threads(threads)
  // A system may give fewer threads than were asked for.
  for (int part = omp_get_thread_num(); part < threads; part += omp_get_num_threads()) {
    const int i = part / across;
    const int j = part % across;
    const Index row = cut(m, row_align, i, down);
    const Index column = cut(n, column_align, j, across);
    const Tile tile{row, cut(m, row_align, i + 1, down) - row, column,
                    cut(n, column_align, j + 1, across) - column};
    if (tile.rows > 0 && tile.columns > 0) body(tile);
  }
}

}  // namespace shoal::kernels
