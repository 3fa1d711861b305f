#include <shoal/kernels/local/norm.hpp>

#include <shoal/runtime/isa.hpp>

#include "activation_kernels.hpp"
#include "norm_kernels.hpp"
#include "row_blocks.hpp"
#include "threads.hpp"

namespace shoal::kernels {
namespace {

const NormKernels& kernels() { return SHOAL_SELECT_KERNELS(norm_kernels); }

void accumulate(Index n, const float* from, float* to) {
  SHOAL_SELECT_KERNELS(activation_kernels).add(n, to, from, to);
}

}  // namespace

void layer_norm_forward(Index rows, Index cols, const float* x, const float* gain,
                        const float* bias, float eps, float* y, float* mean, float* rstd) {
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      kernels().layer_norm(cols, x + r * cols, gain, bias, eps, y + r * cols, mean + r, rstd + r);
    }
  });
}

void layer_norm_backward(Index rows, Index cols, const float* x, const float* gain,
                         const float* mean, const float* rstd, const float* dy, float* dx,
                         float* dgain, float* dbias) {
  sum_row_blocks(
      rows, 2 * cols,
      [&](Index begin, Index end, float* sums) {
        for (Index r = begin; r < end; ++r) {
          kernels().layer_norm_gradient(cols, x + r * cols, gain, mean[r], rstd[r], dy + r * cols,
                                        dx + r * cols, sums,
                                        dbias == nullptr ? nullptr : sums + cols);
        }
      },
      [&](const float* sums) {
        accumulate(cols, sums, dgain);
        if (dbias != nullptr) accumulate(cols, sums + cols, dbias);
      });
}

void rms_norm_forward(Index rows, Index cols, const float* x, const float* gain, float eps,
                      float* y, float* rstd) {
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      kernels().rms_norm(cols, x + r * cols, gain, eps, y + r * cols, rstd + r);
    }
  });
}

void rms_norm_backward(Index rows, Index cols, const float* x, const float* gain, const float* rstd,
                       const float* dy, float* dx, float* dgain) {
  sum_row_blocks(
      rows, cols,
      [&](Index begin, Index end, float* sums) {
        for (Index r = begin; r < end; ++r) {
          kernels().rms_norm_gradient(cols, x + r * cols, gain, rstd[r], dy + r * cols,
                                      dx + r * cols, sums);
        }
      },
      [&](const float* sums) { accumulate(cols, sums, dgain); });
}

}  // namespace shoal::kernels
