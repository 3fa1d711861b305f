#include <shoal/kernels/local/dropout.hpp>

#include <algorithm>
#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/isa.hpp>

#include "philox_stream.hpp"
#include "random_kernels.hpp"
#include "threads.hpp"

namespace shoal::kernels {

DropoutConstants dropout_constants(const Dropout& dropout) {
  const float p = dropout.probability;
  if (!(p >= 0 && p < 1)) {
    throw Error("dropout", "probability " + std::to_string(p) + " is not in [0, 1)",
                "pass the share of elements to drop");
  }
  return {static_cast<std::uint32_t>(static_cast<double>(p) * 0x1p32),
          static_cast<float>(1.0 / (1.0 - static_cast<double>(p)))};
}

void dropout_forward(const Dropout& dropout, std::uint64_t first_index, Index n, const float* x,
                     float* y) {
  const DropoutConstants constants = dropout_constants(dropout);
  if (dropout.probability == 0) {
    if (x != y && n > 0) std::copy_n(x, n, y);
    return;
  }
  const PhiloxStream stream = philox_stream(dropout.key);
  const RandomKernels& kernels = SHOAL_SELECT_KERNELS(random_kernels);
  parallel_ranges(n, element_align, element_grain, [&](Index begin, Index end) {
    kernels.dropout(stream, first_index + static_cast<std::uint64_t>(begin), end - begin,
                    constants.threshold, constants.scale, x + begin, y + begin);
  });
}

void dropout_backward(const Dropout& dropout, std::uint64_t first_index, Index n, const float* dy,
                      float* dx) {
  dropout_forward(dropout, first_index, n, dy, dx);
}

}  // namespace shoal::kernels
