#pragma once

#include <cstdint>

#include "dispatch.hpp"

namespace shoal::kernels {

/// The parts of Philox's key and counter that a RandomKey fixes.
struct PhiloxStream {
  std::uint32_t key0, key1;
  std::uint32_t counter2, counter3;
};

/// Functions on ranges of elements.
struct RandomKernels {
  void (*uniform)(const PhiloxStream& stream, std::uint64_t first, std::int64_t n, float* out);
  void (*normal)(const PhiloxStream& stream, std::uint64_t first, std::int64_t n, float mean,
                 float stddev, float* out);
  /// y = x·scale for elements whose random word is at least threshold, else 0.
  void (*dropout)(const PhiloxStream& stream, std::uint64_t first, std::int64_t n,
                  std::uint32_t threshold, float scale, const float* x, float* y);
  std::uint64_t (*word_pair)(const PhiloxStream& stream, std::uint64_t counter);
};

SHOAL_DECLARE_KERNELS(RandomKernels, random_kernels)

}  // namespace shoal::kernels
