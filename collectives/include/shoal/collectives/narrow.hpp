// fp32 numbers that travel as bfloat16, converted where they lie: half the bytes, no memory beside.
#pragma once

#include <shoal/runtime/units.hpp>

namespace shoal {

/// The first 2·count bytes at `data` become the floats there, each rounded to the nearest bfloat16, ties
/// to even; a NaN stays one. What the other half then holds is undefined.
void narrow_in_place(float* data, Index count);

/// The way back, for numbers [begin, begin + count) of the bfloat16 at `data`: data[begin + i] becomes
/// number begin + i. What other numbers lie there is lost.
void widen_in_place(float* data, Index begin, Index count);

}  // namespace shoal
