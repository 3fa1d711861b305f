#include <shoal/kernels/local/random.hpp>

#include <shoal/runtime/isa.hpp>

#include "philox_stream.hpp"
#include "random_kernels.hpp"
#include "threads.hpp"

namespace shoal::kernels {
namespace {

const RandomKernels& kernels() { return SHOAL_SELECT_KERNELS(random_kernels); }

}  // namespace

void uniform(RandomKey key, std::uint64_t first_index, Index n, float* out) {
  const PhiloxStream stream = philox_stream(key);
  parallel_ranges(n, element_align, element_grain, [&](Index begin, Index end) {
    kernels().uniform(stream, first_index + static_cast<std::uint64_t>(begin), end - begin,
                      out + begin);
  });
}

void normal(RandomKey key, std::uint64_t first_index, Index n, float mean, float stddev,
            float* out) {
  const PhiloxStream stream = philox_stream(key);
  parallel_ranges(n, element_align, element_grain, [&](Index begin, Index end) {
    kernels().normal(stream, first_index + static_cast<std::uint64_t>(begin), end - begin, mean,
                     stddev, out + begin);
  });
}

std::uint64_t random_u64(RandomKey key, std::uint64_t index) {
  return kernels().word_pair(philox_stream(key), index);
}

}  // namespace shoal::kernels
