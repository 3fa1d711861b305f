// Numbers of one type as numbers of another.
#pragma once

#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// y[n] = x[n], rounded to the nearest bfloat16, ties to even. Threaded.
void convert(Index n, const float* x, bfloat16* y);
/// y[n] = x[n], exactly.
void convert(Index n, const bfloat16* x, float* y);

}  // namespace shoal::kernels
