#include "activation_kernels.hpp"
#include "simd_math.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

constexpr float sqrt_2_over_pi = 0.7978845608028654f;
constexpr float cubic = 0.044715f;

// ½(1 + tanh u) = 1/(1 + e^(−2u)) with u = √(2/π)(x + 0.044715x³): one exponential, and no
// cancellation where tanh is near −1.
inline float gelu_weight(float x) {
  const float u = sqrt_2_over_pi * x * (1.0f + cubic * x * x);
  return 1.0f / (1.0f + exp_of(-2.0f * u));
}

inline float gelu_of(float x) { return x * gelu_weight(x); }

inline float gelu_slope(float x) {
  // Beyond ±16 the slope is 0 or 1 to the last bit; the bound keeps 0·∞ out of the product.
  float t = x > 16.0f ? 16.0f : x;
  t = t < -16.0f ? -16.0f : t;
  const float w = gelu_weight(t);
  const float du = sqrt_2_over_pi * (1.0f + 3.0f * cubic * t * t);
  return w + 2.0f * t * w * (1.0f - w) * du;
}

void gelu(Index n, const float* x, float* y) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] = gelu_of(x[i]);
}

void gelu_gradient(Index n, const float* x, const float* dy, float* dx) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) dx[i] = dy[i] * gelu_slope(x[i]);
}

void bias_gelu(Index n, float* x, const float* bias, float* y) {
  if (bias == nullptr) return gelu(n, x, y);
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const float sum = x[i] + bias[i];
    x[i] = sum;
    y[i] = gelu_of(sum);
  }
}

void add(Index n, const float* a, const float* b, float* out) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

void bias_residual(Index n, const float* residual, const float* branch, const float* bias,
                   float* out) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) out[i] = residual[i] + (branch[i] + bias[i]);
}

}  // namespace

extern const ActivationKernels activation_kernels = {gelu, gelu_gradient, bias_gelu, add,
                                                      bias_residual};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
