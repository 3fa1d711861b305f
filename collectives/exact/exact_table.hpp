// The vectorised exact sums of one instruction set. Plain types only: see cmake/ShoalSimd.cmake.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shoal::exact_kernels {

/// Elements that sum() and finish() take at a time, at most.
inline constexpr std::size_t block = 256;

/// sums[i] = the sum of inputs[0..input_count)[first + i], n of them, and doubtful[i] = 0; or, where
/// this kernel cannot tell how to round it (or it is not finite), doubtful[i] = 1. Returns how many.
/// For f64 a sum is the exact one rounded to nearest, ties to even. For narrower types it is rounded to
/// odd: rounding it once more, to the type, gives what rounding the exact sum would have given.
using Sum = std::size_t (*)(const void* const* inputs, int input_count, std::size_t first,
                            std::size_t n, double* sums, std::uint64_t* doubtful);

/// Rounds n sums, divided by `divisor`, to the type.
using Finish = void (*)(const double* sums, std::size_t n, double divisor, void* out);

/// By DType: f32, f64, bf16, f16.
struct Table {
  Sum sum[4];
  Finish finish[4];
};

namespace baseline {
extern const Table table;
}
namespace avx2 {
extern const Table table;
}
namespace avx512 {
extern const Table table;
}

}  // namespace shoal::exact_kernels
