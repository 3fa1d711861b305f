// Random numbers addressed by position instead of drawn in order.
#pragma once

#include <cstdint>

#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// Names a stream of Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// 2011). The value of element i depends on the key and i only, not on threads, ranks or the order
/// of calls: any split of an index range gives the same numbers on every instruction set.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;   ///< e.g. the training step
  std::uint32_t site = 0;   ///< e.g. which layer's dropout
};

/// out[j] = uniform element first_index + j: multiples of 2^-24 in [0, 1).
void uniform(RandomKey key, std::uint64_t first_index, Index n, float* out);

/// out[j] = normal element first_index + j with the given mean and standard deviation (Box & Muller
/// 1958; magnitudes up to 6.7 deviations).
void normal(RandomKey key, std::uint64_t first_index, Index n, float mean, float stddev,
            float* out);

/// The first two words of Philox at counter (index, step, site): 64 random bits.
std::uint64_t random_u64(RandomKey key, std::uint64_t index);

}  // namespace shoal::kernels
