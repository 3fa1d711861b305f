#include <shoal/kernels/local/activation.hpp>

#include <shoal/runtime/isa.hpp>

#include "activation_kernels.hpp"
#include "row_blocks.hpp"
#include "threads.hpp"

namespace shoal::kernels {
namespace {

const ActivationKernels& kernels() { return SHOAL_SELECT_KERNELS(activation_kernels); }

}  // namespace

void gelu_forward(Index n, const float* x, float* y) {
  parallel_ranges(n, element_align, element_grain, [&](Index begin, Index end) {
    kernels().gelu(end - begin, x + begin, y + begin);
  });
}

void gelu_backward(Index n, const float* x, const float* dy, float* dx) {
  parallel_ranges(n, element_align, element_grain, [&](Index begin, Index end) {
    kernels().gelu_gradient(end - begin, x + begin, dy + begin, dx + begin);
  });
}

void bias_gelu_forward(Index rows, Index cols, float* x, const float* bias, float* y) {
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) kernels().bias_gelu(cols, x + r * cols, bias, y + r * cols);
  });
}

void add_bias(Index rows, Index cols, float* x, const float* bias) {
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) kernels().add(cols, x + r * cols, bias, x + r * cols);
  });
}

void bias_residual(Index rows, Index cols, const float* residual, const float* branch,
                   const float* bias, float* out) {
  if (bias == nullptr) return add(rows * cols, residual, branch, out);
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      kernels().bias_residual(cols, residual + r * cols, branch + r * cols, bias, out + r * cols);
    }
  });
}

void bias_gradient(Index rows, Index cols, const float* dy, float* dbias) {
  sum_row_blocks(
      rows, cols,
      [&](Index begin, Index end, float* sums) {
        for (Index r = begin; r < end; ++r) kernels().add(cols, sums, dy + r * cols, sums);
      },
      [&](const float* sums) { kernels().add(cols, dbias, sums, dbias); });
}

void add(Index n, const float* a, const float* b, float* out) {
  parallel_ranges(n, element_align, element_grain, [&](Index begin, Index end) {
    kernels().add(end - begin, a + begin, b + begin, out + begin);
  });
}

}  // namespace shoal::kernels
