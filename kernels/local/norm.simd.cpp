#include "norm_kernels.hpp"
#include "simd_math.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

void layer_norm(Index cols, const float* x, const float* gain, const float* bias, float eps,
                float* y, float* mean_out, float* rstd_out) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index c = 0; c < cols; ++c) sum += x[c];
  const float mean = sum / static_cast<float>(cols);
  // A second pass: the one-pass formula E[x²] − mean² loses all digits when the mean is large.
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (Index c = 0; c < cols; ++c) squares += (x[c] - mean) * (x[c] - mean);
  const float rstd = 1.0f / __builtin_sqrtf(squares / static_cast<float>(cols) + eps);
  if (bias != nullptr) {
#pragma omp simd
    for (Index c = 0; c < cols; ++c) y[c] = (x[c] - mean) * rstd * gain[c] + bias[c];
  } else {
#pragma omp simd
    for (Index c = 0; c < cols; ++c) y[c] = (x[c] - mean) * rstd * gain[c];
  }
  *mean_out = mean;
  *rstd_out = rstd;
}

void layer_norm_gradient(Index cols, const float* x, const float* gain, float mean, float rstd,
                         const float* dy, float* dx, float* dgain, float* dbias) {
  float sum = 0;
  float dot = 0;
#pragma omp simd reduction(+ : sum, dot)
  for (Index c = 0; c < cols; ++c) {
    const float normalised = (x[c] - mean) * rstd;
    const float d = dy[c] * gain[c];
    sum += d;
    dot += d * normalised;
  }
  const float mean_d = sum / static_cast<float>(cols);
  const float mean_dot = dot / static_cast<float>(cols);
#pragma omp simd
  for (Index c = 0; c < cols; ++c) {
    const float normalised = (x[c] - mean) * rstd;
    dx[c] += (dy[c] * gain[c] - mean_d - normalised * mean_dot) * rstd;
    dgain[c] += dy[c] * normalised;
  }
  if (dbias == nullptr) return;
#pragma omp simd
  for (Index c = 0; c < cols; ++c) dbias[c] += dy[c];
}

void rms_norm(Index cols, const float* x, const float* gain, float eps, float* y, float* rstd_out) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (Index c = 0; c < cols; ++c) squares += x[c] * x[c];
  const float rstd = 1.0f / __builtin_sqrtf(squares / static_cast<float>(cols) + eps);
#pragma omp simd
  for (Index c = 0; c < cols; ++c) y[c] = x[c] * rstd * gain[c];
  *rstd_out = rstd;
}

void rms_norm_gradient(Index cols, const float* x, const float* gain, float rstd, const float* dy,
                       float* dx, float* dgain) {
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (Index c = 0; c < cols; ++c) dot += dy[c] * gain[c] * (x[c] * rstd);
  const float mean_dot = dot / static_cast<float>(cols);
#pragma omp simd
  for (Index c = 0; c < cols; ++c) {
    const float normalised = x[c] * rstd;
    dx[c] += (dy[c] * gain[c] - normalised * mean_dot) * rstd;
    dgain[c] += dy[c] * normalised;
  }
}

}  // namespace

extern const NormKernels norm_kernels = {layer_norm, layer_norm_gradient, rms_norm,
                                         rms_norm_gradient};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
