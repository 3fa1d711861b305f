#include <shoal/kernels/local/convert.hpp>

#include <cstdint>

#include <shoal/runtime/isa.hpp>

#include "convert_kernels.hpp"
#include "threads.hpp"

namespace shoal::kernels {

void convert(Index n, const float* x, bfloat16* y) {
  const ConvertKernels& kernels = SHOAL_SELECT_KERNELS(convert_kernels);
  parallel_ranges(n, element_align, element_grain, [&](Index begin, Index end) {
    kernels.to_bf16(end - begin, x + begin, reinterpret_cast<std::uint16_t*>(y + begin));
  });
}

void convert(Index n, const bfloat16* x, float* y) {
  const ConvertKernels& kernels = SHOAL_SELECT_KERNELS(convert_kernels);
  parallel_ranges(n, element_align, element_grain, [&](Index begin, Index end) {
    kernels.from_bf16(end - begin, reinterpret_cast<const std::uint16_t*>(x + begin), y + begin);
  });
}

}  // namespace shoal::kernels
