#include <shoal/kernels/local/embedding.hpp>

#include <algorithm>

#include <shoal/runtime/isa.hpp>

#include "activation_kernels.hpp"
#include "threads.hpp"

namespace shoal::kernels {

void embedding_forward(Index rows, Index width, const std::int32_t* ids, Index first_id,
                       Index shard_ids, const float* table, float* out) {
  parallel_ranges(rows, 1, row_grain(width), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const Index id = ids[r] - first_id;
      float* const row = out + r * width;
      if (id >= 0 && id < shard_ids) {
        std::copy_n(table + id * width, width, row);
      } else {
        std::fill_n(row, width, 0.0f);
      }
    }
  });
}

void embedding_backward(Index rows, Index width, const std::int32_t* ids, Index first_id,
                        Index shard_ids, const float* dout, float* dtable) {
  const ActivationKernels& kernels = SHOAL_SELECT_KERNELS(activation_kernels);
  // Each thread owns columns, a cache line at least, and walks over all rows: no two threads add to
  // one element, and every element sees its rows in order.
  constexpr Index line = 16;
  parallel_ranges(width, line, std::max<Index>(line, element_grain / std::max<Index>(1, rows)),
                  [&](Index begin, Index end) {
                    for (Index r = 0; r < rows; ++r) {
                      const Index id = ids[r] - first_id;
                      if (id < 0 || id >= shard_ids) continue;
                      float* const target = dtable + id * width + begin;
                      kernels.add(end - begin, target, dout + r * width + begin, target);
                    }
                  });
}

}  // namespace shoal::kernels
