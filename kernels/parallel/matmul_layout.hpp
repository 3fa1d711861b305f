// Which part of a matrix each rank holds.
#pragma once

#include <algorithm>
#include <vector>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/placement.hpp>

namespace shoal::kernels {

inline Block meet(const Block& a, const Block& b) {
  const Index begin = std::max(a.begin, b.begin);
  return {begin, std::max<Index>(0, std::min(a.end(), b.end()) - begin)};
}

/// Rows and columns of a part.
struct Rect {
  Block rows, cols;
  Index area() const noexcept { return rows.size * cols.size; }
  bool empty() const noexcept { return area() == 0; }
  friend bool operator==(const Rect&, const Rect&) = default;
};
inline Rect meet(const Rect& a, const Rect& b) {
  return {meet(a.rows, b.rows), meet(a.cols, b.cols)};
}

/// Ranks that hold the same part.
struct Holders {
  Rect rect;
  std::vector<Rank> ranks;

  bool have(Rank rank) const { return std::binary_search(ranks.begin(), ranks.end(), rank); }
  /// Whom `rank` gets it from: itself, or one of them, so that they share the work.
  Rank source_for(Rank rank) const {
    return have(rank) ? rank : ranks[static_cast<std::size_t>(rank) % ranks.size()];
  }
};

/// The parts of a matrix: those of different Holders do not overlap and together are the whole.
struct Layout {
  std::vector<Rect> of_rank;
  std::vector<Holders> parts;

  explicit Layout(std::vector<Rect> rects);
  /// Where parts begin and end, in order: every block of rows (or columns) that a part has.
  std::vector<Block> row_blocks() const;
  std::vector<Block> col_blocks() const;
};

/// [0, extent) cut wherever a block of `a` or `b` ends, in order.
std::vector<Block> cut(const std::vector<Block>& a, const std::vector<Block>& b);

/// The product to be done: what every rank holds of A, B and C, and this rank's own parts.
struct Product {
  const Communicator* ranks;
  Index m, n, k;
  const float* a;
  const float* b;
  float* c;
  Layout a_at, b_at, c_at;
};

}  // namespace shoal::kernels
