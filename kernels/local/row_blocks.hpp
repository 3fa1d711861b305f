// Sums over rows that do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstddef>

#include "activation_kernels.hpp"
#include "scratch.hpp"
#include "threads.hpp"

namespace shoal::kernels {

/// Rows summed in sequence before the partial sum is set aside.
inline constexpr Index rows_per_block = 32;

/// Calls body(first_row, end_row, partial) for blocks of rows_per_block rows, in parallel;
/// `partial` points to `width` zeros that the body adds to. Then calls add_to(partial) for each
/// block in order.
template <class Body, class AddTo>
void sum_row_blocks(Index rows, Index width, const Body& body, const AddTo& add_to) {
  static thread_local Scratch scratch;
  const Index blocks = (rows + rows_per_block - 1) / rows_per_block;
  float* const partial = scratch.get<float>(static_cast<std::size_t>(blocks * width));
  const Index grain = std::max<Index>(1, row_grain(width) / rows_per_block);
  parallel_ranges(blocks, 1, grain, [&](Index begin, Index end) {
    for (Index block = begin; block < end; ++block) {
      float* const sums = partial + block * width;
      std::fill(sums, sums + width, 0.0f);
      body(block * rows_per_block, std::min(rows, (block + 1) * rows_per_block), sums);
    }
  });
  for (Index block = 0; block < blocks; ++block) add_to(partial + block * width);
}

}  // namespace shoal::kernels
