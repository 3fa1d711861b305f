#include "simd_math.hpp"
#include "softmax_kernels.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

float max_of(Index n, const float* x) {
  float max = -infinity;
#pragma omp simd reduction(max : max)
  for (Index i = 0; i < n; ++i) max = x[i] > max ? x[i] : max;
  return max;
}

void forward(Index n, const float* x, float* y) {
  const float max = max_of(n, x);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < n; ++i) {
    const float e = exp_of(x[i] - max);
    y[i] = e;
    sum += e;
  }
  const float factor = 1.0f / sum;
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] *= factor;
}

void backward(Index n, const float* y, const float* dy, float* dx) {
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (Index i = 0; i < n; ++i) dot += y[i] * dy[i];
#pragma omp simd
  for (Index i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - dot);
}

// Block by block, so that the second look at an element finds it in the first-level cache.
void max_and_sum(Index n, const float* x, float* max_out, float* sum_out) {
  constexpr Index block = 2048;
  float max = -infinity;
  float sum = 0;
  for (Index begin = 0; begin < n; begin += block) {
    const Index count = n - begin < block ? n - begin : block;
    const float block_max = max_of(count, x + begin);
    if (block_max > max) {
      sum *= exp_of(max - block_max);
      max = block_max;
    }
    // −∞ − (−∞) would be NaN; with 0 such elements add exp(−∞) = 0, and a NaN still shows.
    const float shift = max == -infinity ? 0.0f : max;
    float block_sum = 0;
#pragma omp simd reduction(+ : block_sum)
    for (Index i = 0; i < count; ++i) block_sum += exp_of(x[begin + i] - shift);
    sum += block_sum;
  }
  *max_out = max;
  *sum_out = sum;
}

void scaled_exp(Index n, float log_sum_exp, float scale, float* x) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) x[i] = exp_of(x[i] - log_sum_exp) * scale;
}

}  // namespace

extern const SoftmaxKernels softmax_kernels = {forward, backward, max_and_sum, scaled_exp};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
