// GELU and the element-by-element steps around a linear layer.
#pragma once

#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// y = 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))): GELU in its tanh form (Hendrycks & Gimpel 2016),
/// the one of GPT-2. y may be x. As the formula has it, −infinity gives NaN.
void gelu_forward(Index n, const float* x, float* y);

/// dx = dy·GELU'(x), written (not added). dx may be dy.
void gelu_backward(Index n, const float* x, const float* dy, float* dx);

/// x += bias for each row of [rows × cols], kept for gelu_backward; y = GELU(x). bias may be null.
void bias_gelu_forward(Index rows, Index cols, float* x, const float* bias, float* y);

/// x[r,c] += bias[c].
void add_bias(Index rows, Index cols, float* x, const float* bias);

/// out = residual + (branch + bias) for each row of [rows × cols]; out may be residual or branch, bias may
/// be null. The same bits as add_bias and add, in one pass.
void bias_residual(Index rows, Index cols, const float* residual, const float* branch,
                   const float* bias, float* out);

/// dbias[c] += Σ_r dy[r,c], the same for any number of threads.
void bias_gradient(Index rows, Index cols, const float* dy, float* dbias);

/// out = a + b; out may be a or b.
void add(Index n, const float* a, const float* b, float* out);

}  // namespace shoal::kernels
