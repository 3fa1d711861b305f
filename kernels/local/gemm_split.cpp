// fp32 products from bfloat16 ones (Henry, Tang & Heinecke 2019, "Leveraging the bfloat16 artificial
// intelligence datatype for higher-precision computations").
//
// a = a0 + a1 + a2, each a bfloat16, leaves at most 2^-24 |a|; a0 + a1 at most 2^-16 |a|. Of the products
// of parts those are computed that lie above what is left anyway: 3 of 4 (x2), 6 of 9 (x3). They are added
// up in C, in single precision, the smallest ones first.
#include "gemm_split.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <utility>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/isa.hpp>

#include "convert_kernels.hpp"
#include "onednn_bf16.hpp"
#include "scratch.hpp"
#include "threads.hpp"

namespace shoal::kernels {
namespace {

using Parts = std::array<bfloat16*, 3>;

// `rows` × `cols` of x, in dense parts.
Parts parts_of(int count, Index rows, Index cols, const float* x, Index ld, Scratch& room) {
  const Index elements = rows * cols;
  auto* const first = room.get<bfloat16>(static_cast<std::size_t>(count * elements));
  const Parts parts = {first, first + elements, count == 3 ? first + 2 * elements : nullptr};
  const ConvertKernels& convert = SHOAL_SELECT_KERNELS(convert_kernels);
  const auto bits = [](bfloat16* part, Index at) {
    return part == nullptr ? nullptr : reinterpret_cast<std::uint16_t*>(part + at);
  };
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const Index at = r * cols;
      convert.split(cols, x + r * ld, bits(parts[0], at), bits(parts[1], at), bits(parts[2], at));
    }
  });
  return parts;
}

constexpr std::pair<int, int> pairs_of_two[] = {{1, 0}, {0, 1}, {0, 0}};
constexpr std::pair<int, int> pairs_of_three[] = {{2, 0}, {1, 1}, {0, 2}, {1, 0}, {0, 1}, {0, 0}};

}  // namespace

bool splits() {
  static const bool yes = [] {
    const std::string_view arithmetic = onednn_bf16_arithmetic();
    const char* text = std::getenv("SHOAL_BF16X_BACKEND");
    const std::string_view wish = text == nullptr ? "" : text;
    if (wish == "fp32") return false;
    // Six products at the rate of AVX-512's dot product, twice that of fp32, would take three times as
    // long as one in fp32. AMX has sixteen times the rate.
    if (wish.empty()) return arithmetic == "amx_bf16";
    if (wish != "split") {
      throw UsageError("SHOAL_BF16X_BACKEND", "unknown backend '" + std::string(wish) + "'",
                       "use split or fp32");
    }
    if (arithmetic.empty()) {
      throw UsageError("SHOAL_BF16X_BACKEND", "oneDNN cannot multiply bf16 on this processor",
                       "use fp32");
    }
    return true;
  }();
  return yes;
}

void gemm_split(int parts, Trans ta, Trans tb, Index m, Index n, Index k, float alpha,
                const float* a, Index lda, const float* b, Index ldb, float beta, float* c,
                Index ldc) {
  static thread_local Scratch room_a, room_b;
  // Panels of k, so that the parts stay small beside the operands.
  constexpr Index panel_elements = Index{1} << 23;
  const Index panel = std::clamp<Index>(panel_elements / (m + n) / 64 * 64, 256, 8192);
  for (Index begin = 0; begin < k; begin += panel) {
    const Index depth = std::min(panel, k - begin);
    const auto split = [&](Trans t, Index across, const float* x, Index ld, Scratch& room) {
      return t == Trans::no ? parts_of(parts, across, depth, x + begin, ld, room)
                            : parts_of(parts, depth, across, x + begin * ld, ld, room);
    };
    const Parts left = split(ta, m, a, lda, room_a);
    // B is k × n: its panel is one of rows where A's is one of columns.
    const Parts right = split(tb == Trans::no ? Trans::yes : Trans::no, n, b, ldb, room_b);
    const Index ld_left = ta == Trans::no ? depth : m;
    const Index ld_right = tb == Trans::no ? n : depth;
    float keep = begin == 0 ? beta : 1.0f;
    const auto add = [&](const std::pair<int, int>& pair) {
      onednn_gemm_bf16({ta, tb, m, n, depth, ld_left, ld_right, ldc, alpha, keep},
                       left[static_cast<std::size_t>(pair.first)],
                       right[static_cast<std::size_t>(pair.second)], c);
      keep = 1.0f;
    };
    if (parts == 2) {
      std::for_each(std::begin(pairs_of_two), std::end(pairs_of_two), add);
    } else {
      std::for_each(std::begin(pairs_of_three), std::end(pairs_of_three), add);
    }
  }
}

}  // namespace shoal::kernels
