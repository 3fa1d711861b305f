// Philox4x32-10 in a form that vectorises, shared by random.simd.cpp and attention.simd.cpp.
#pragma once

#include <cstdint>

#include "random_kernels.hpp"
#include "simd_math.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {

/// Elements come in groups of 64: 16 counters, and element e of a group is word e/16 of counter
/// e%16, so that a vector of counters gives vectors of neighbouring elements.
inline constexpr Index group_lanes = 16;
inline constexpr Index group_size = 64;

/// The words of counters first … first + 15: words[w][lane].
inline void philox_group(const PhiloxStream& stream, std::uint64_t first,
                         std::uint32_t (&words)[4][group_lanes]) {
#pragma omp simd
  for (Index lane = 0; lane < group_lanes; ++lane) {
    const std::uint64_t counter = first + static_cast<std::uint64_t>(lane);
    std::uint32_t c0 = static_cast<std::uint32_t>(counter);
    std::uint32_t c1 = static_cast<std::uint32_t>(counter >> 32);
    std::uint32_t c2 = stream.counter2;
    std::uint32_t c3 = stream.counter3;
    std::uint32_t k0 = stream.key0;
    std::uint32_t k1 = stream.key1;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0;
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2;
      c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
      c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c1 = static_cast<std::uint32_t>(p1);
      c3 = static_cast<std::uint32_t>(p0);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    words[0][lane] = c0;
    words[1][lane] = c1;
    words[2][lane] = c2;
    words[3][lane] = c3;
  }
}

/// Calls use(group's 64 values, first value wanted, how many, offset in the range) for each group
/// that overlaps [first, first + n); make(counter, values) fills a group.
template <class T, class Make, class Use>
inline void for_each_group(std::uint64_t first, Index n, const Make& make, const Use& use) {
  alignas(64) T values[group_size];
  for (Index done = 0; done < n;) {
    const std::uint64_t index = first + static_cast<std::uint64_t>(done);
    const Index skip = static_cast<Index>(index % group_size);
    const Index count = n - done < group_size - skip ? n - done : group_size - skip;
    make(index / group_size * group_lanes, values);
    use(values + skip, count, done);
    done += count;
  }
}

/// y = x·scale where the element's word reaches threshold, else 0.
inline void dropout_range(const PhiloxStream& stream, std::uint64_t first, Index n,
                          std::uint32_t threshold, float scale, const float* x, float* y) {
  for_each_group<std::uint32_t>(
      first, n,
      [&](std::uint64_t counter, std::uint32_t* values) {
        philox_group(stream, counter, *reinterpret_cast<std::uint32_t(*)[4][group_lanes]>(values));
      },
      [&](const std::uint32_t* values, Index count, Index offset) {
#pragma omp simd
        for (Index i = 0; i < count; ++i) {
          const float kept = x[offset + i] * scale;
          y[offset + i] = values[i] >= threshold ? kept : 0.0f;
        }
      });
}

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
