// LayerNorm (Ba et al. 2016) and RMSNorm (Zhang & Sennrich 2019), forward and backward.
#pragma once

#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

// Matrices are [rows × cols], row-major, contiguous; each row is normalised by itself. The backward
// functions ADD to dx, dgain and dbias. Results do not depend on the number of threads: the sums
// over rows are made in blocks of a fixed number of rows.

/// y = (x − mean)·rstd·gain + bias, with rstd = 1/sqrt(variance + eps) and the biased variance.
/// mean [rows] and rstd [rows] are written for the backward pass. bias [cols] may be null. y may be x.
void layer_norm_forward(Index rows, Index cols, const float* x, const float* gain,
                        const float* bias, float eps, float* y, float* mean, float* rstd);

/// Adds the gradients to dx [rows × cols], dgain [cols] and, unless it is null, dbias [cols].
void layer_norm_backward(Index rows, Index cols, const float* x, const float* gain,
                         const float* mean, const float* rstd, const float* dy, float* dx,
                         float* dgain, float* dbias);

/// y = x·rstd·gain with rstd = 1/sqrt(mean(x²) + eps), written to rstd [rows]. y may be x.
void rms_norm_forward(Index rows, Index cols, const float* x, const float* gain, float eps,
                      float* y, float* rstd);

/// Adds the gradients to dx [rows × cols] and dgain [cols].
void rms_norm_backward(Index rows, Index cols, const float* x, const float* gain,
                       const float* rstd, const float* dy, float* dx, float* dgain);

}  // namespace shoal::kernels
