// Softmax over rows.
#pragma once

#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// y[r,·] = exp(x[r,·] − max)/Σ for [rows × cols]; y may be x. A row with NaN or +infinity, or of
/// −infinity only, becomes NaN.
void softmax_forward(Index rows, Index cols, const float* x, float* y);

/// dx = y·(dy − Σ y·dy) for each row, written. y is what softmax_forward gave; dx may be dy.
void softmax_backward(Index rows, Index cols, const float* y, const float* dy, float* dx);

}  // namespace shoal::kernels
