// The product by messages, the ranks as a grid of pm × pn × pk.
#pragma once

#include <string>
#include <vector>

#include "matmul_layout.hpp"

#include <shoal/kernels/local/gemm.hpp>

namespace shoal::kernels {

/// Ranks by rows of C, by its columns and by the sum; those beyond pm·pn·pk only send and receive.
struct Grid {
  int pm = 1, pn = 1, pk = 1;
  int slices = 1;      ///< in which a rank's share of the sum comes
  double seconds = 0;  ///< predicted
  Bytes room = 0;      ///< for messages and the term of C, a rank

  std::string_view name() const;
  /// "summa 2x3x1, 4 slices".
  std::string text() const;
};

/// All grids, the cheapest first; the same on every rank.
std::vector<Grid> grids_for(const Product& product);

void matmul_on_grid(const Product& product, const Grid& grid, Precision precision);

}  // namespace shoal::kernels
