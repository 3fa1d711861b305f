// Division of a range among the caller's OpenMP threads.
#pragma once

#include <algorithm>

#include <omp.h>

#include <shoal/runtime/isa.hpp>
#include <shoal/runtime/signals_held.hpp>
#include <shoal/runtime/units.hpp>


namespace shoal::kernels {

/// Calls body(begin, end) for parts of [0, n) whose bounds are multiples of `align`. One thread for
/// each `grain` elements at most: below that, waking a thread costs more than it saves.
template <class Body>
void parallel_ranges(Index n, Index align, Index grain, const Body& body) {
  if (n <= 0) return;
  selected_isa();  // may throw, at its first call: not to happen inside the parallel region
  const Index wanted = omp_in_parallel() ? 1 : std::min<Index>(omp_get_max_threads(), n / grain);
  if (wanted <= 1) {
    body(Index{0}, n);
    return;
  }
  const SignalsHeld held;
#pragma omp parallel num_threads(static_cast <int>(wanted))
  {
    const Index threads = omp_get_num_threads();
    const Index blocks = (n + align - 1) / align;
    const Index thread = omp_get_thread_num();
    const Index begin = blocks * thread / threads * align;
    const Index end = std::min(n, blocks * (thread + 1) / threads * align);
    if (begin < end) body(begin, end);
  }
}

/// Grain for rows of `cols` elements.
inline Index row_grain(Index cols) { return std::max<Index>(1, 16384 / std::max<Index>(1, cols)); }

/// Grain, and alignment, for elements.
inline constexpr Index element_grain = 16384;
inline constexpr Index element_align = 1024;

}  // namespace shoal::kernels
