#include <shoal/kernels/local/softmax.hpp>

#include <shoal/runtime/isa.hpp>

#include "softmax_kernels.hpp"
#include "threads.hpp"

namespace shoal::kernels {
namespace {

const SoftmaxKernels& kernels() { return SHOAL_SELECT_KERNELS(softmax_kernels); }

}  // namespace

void softmax_forward(Index rows, Index cols, const float* x, float* y) {
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) kernels().forward(cols, x + r * cols, y + r * cols);
  });
}

void softmax_backward(Index rows, Index cols, const float* y, const float* dy, float* dx) {
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      kernels().backward(cols, y + r * cols, dy + r * cols, dx + r * cols);
    }
  });
}

}  // namespace shoal::kernels
