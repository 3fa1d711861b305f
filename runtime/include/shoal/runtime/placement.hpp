// How a tensor lies over the ranks of one mesh axis.
#pragma once

#include <string>
#include <vector>

#include <shoal/runtime/reduce_op.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// A tensor over the ranks of one axis: every rank has all of it (replicate), rank r has block r
/// along a dimension (shard), or every rank has a term of it, and the tensor is their reduction
/// (partial).
class Placement {
 public:
  enum class Kind { replicate, shard, partial };

  Kind kind = Kind::replicate;
  int dim = 0;                   ///< shard: the dimension that is divided
  ReduceOp op = ReduceOp::sum;   ///< partial: how the terms combine

  /// "Replicate", "Shard(1)", "Partial(sum)".
  std::string text() const;
  friend bool operator==(const Placement&, const Placement&) = default;
};

/// Every rank has the whole tensor.
inline Placement Replicate() { return {}; }
/// Rank r has the r-th block along dimension `dim` (see block_of).
inline Placement Shard(int dim) { return {Placement::Kind::shard, dim, ReduceOp::sum}; }
/// Every rank has a term of the whole tensor.
inline Placement Partial(ReduceOp op = ReduceOp::sum) {
  return {Placement::Kind::partial, 0, op};
}

/// A range of indices.
struct Block {
  Index begin = 0;
  Index size = 0;
  Index end() const noexcept { return begin + size; }
  friend bool operator==(const Block&, const Block&) = default;
};

/// The `index`-th of `parts` blocks of `extent` elements: sizes differ by one at most, the larger
/// ones first. Any extent, also smaller than `parts` (some blocks are then empty).
constexpr Block block_of(Index extent, Index parts, Index index) {
  const Index small = extent / parts;
  const Index larger = extent % parts;
  return {index * small + (index < larger ? index : larger), small + (index < larger ? 1 : 0)};
}

}  // namespace shoal
