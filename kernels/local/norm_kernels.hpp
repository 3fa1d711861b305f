#pragma once

#include <cstdint>

#include "dispatch.hpp"

namespace shoal::kernels {

/// Functions on one row of `cols` elements.
struct NormKernels {
  void (*layer_norm)(std::int64_t cols, const float* x, const float* gain, const float* bias,
                     float eps, float* y, float* mean, float* rstd);
  /// Adds to dx, dgain and dbias (which may be null).
  void (*layer_norm_gradient)(std::int64_t cols, const float* x, const float* gain, float mean,
                              float rstd, const float* dy, float* dx, float* dgain, float* dbias);
  void (*rms_norm)(std::int64_t cols, const float* x, const float* gain, float eps, float* y,
                   float* rstd);
  void (*rms_norm_gradient)(std::int64_t cols, const float* x, const float* gain, float rstd,
                            const float* dy, float* dx, float* dgain);
};

SHOAL_DECLARE_KERNELS(NormKernels, norm_kernels)

}  // namespace shoal::kernels
