#include <shoal/kernels/local/cross_entropy.hpp>

#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/isa.hpp>

#include "softmax_kernels.hpp"
#include "threads.hpp"

namespace shoal::kernels {
namespace {

const SoftmaxKernels& kernels() { return SHOAL_SELECT_KERNELS(softmax_kernels); }

void check_stride(Index rows, Index cols, Index ld) {
  if (rows > 1 && ld < cols) {
    throw Error(
        "cross entropy",
        "rows are " + std::to_string(ld) + " elements apart but hold " + std::to_string(cols),
        "pass the distance between rows of the logits");
  }
}

}  // namespace

void cross_entropy_stats(Index rows, Index cols, const float* logits, Index ld,
                         const std::int32_t* targets, Index first_id, float* max, float* sum,
                         float* target_logit) {
  check_stride(rows, cols, ld);
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      kernels().max_and_sum(cols, logits + r * ld, max + r, sum + r);
      const Index column = targets[r] - first_id;
      target_logit[r] = column >= 0 && column < cols ? logits[r * ld + column] : 0.0f;
    }
  });
}

void cross_entropy_backward(Index rows, Index cols, float* logits, Index ld,
                            const std::int32_t* targets, Index first_id, const float* log_sum_exp,
                            float scale) {
  check_stride(rows, cols, ld);
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      kernels().scaled_exp(cols, log_sum_exp[r], scale, logits + r * ld);
      const Index column = targets[r] - first_id;
      if (column >= 0 && column < cols) logits[r * ld + column] -= scale;
    }
  });
}

}  // namespace shoal::kernels
