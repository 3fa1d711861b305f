#include "exact/exact.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <shoal/runtime/isa.hpp>

#include "exact/exact_table.hpp"
#include "exact/superaccumulator.hpp"
#include "reduce/reduce.hpp"

namespace shoal {
namespace {

const exact_kernels::Table& table() {
  static const exact_kernels::Table& chosen = []() -> const exact_kernels::Table& {
    switch (selected_isa()) {
#if defined(SHOAL_SIMD_HAS_AVX512)
      case Isa::avx512: return exact_kernels::avx512::table;
#endif
#if defined(SHOAL_SIMD_HAS_AVX2)
      case Isa::avx2: return exact_kernels::avx2::table;
#endif
      default: return exact_kernels::baseline::table;
    }
  }();
  return chosen;
}

double element(const void* data, std::size_t index, DType type) {
  switch (type) {
    case DType::f32: return static_cast<const float*>(data)[index];
    case DType::f64: return static_cast<const double*>(data)[index];
    case DType::bf16: return to_float(static_cast<const bfloat16*>(data)[index]);
    default: return to_float(static_cast<const float16*>(data)[index]);
  }
}

double accumulated(const void* const* inputs, int input_count, std::size_t index, DType type) {
  Superaccumulator sum;
  for (int k = 0; k < input_count; ++k) sum.add(element(inputs[k], index, type));
  return type == DType::f64 ? sum.nearest() : sum.odd();
}

}  // namespace

std::string_view reduction_name(ReduceOp op) noexcept {
  if (op == exact_sum) return "reproducible sum";
  if (op == exact_avg) return "reproducible avg";
  return name_of(op);
}

void reduce_exactly(const void* const* inputs, int input_count, void* const* outputs,
                    int output_count, Index count, DType type, ReduceOp op, int ranks,
                    bool stream) {
  constexpr std::size_t block = exact_kernels::block;
  const auto which = static_cast<std::size_t>(type);  // f32, f64, bf16, f16 come first
  const double divisor = op == exact_avg ? ranks : 1;
  const Bytes size = size_of(type);
  alignas(64) std::array<double, block> sums;
  alignas(64) std::array<double, block> result;  // of the type, which is no larger
  std::array<std::uint64_t, block> doubtful;
  const auto n = static_cast<std::size_t>(count);
  for (std::size_t first = 0; first < n; first += block) {
    const std::size_t length = std::min(block, n - first);
    const std::size_t left = table().sum[which](inputs, input_count, first, length, sums.data(),
                                                doubtful.data());
    for (std::size_t i = 0; left > 0 && i < length; ++i) {
      if (doubtful[i] != 0) sums[i] = accumulated(inputs, input_count, first + i, type);
    }
    table().finish[which](sums.data(), length, divisor, result.data());
    for (int j = 0; j < output_count; ++j) {
      auto* out = static_cast<std::byte*>(outputs[j]) + first * size;
      if (stream) {
        copy_piece(out, result.data(), length * size, true);
      } else {
        std::memcpy(out, result.data(), length * size);
      }
    }
  }
}

}  // namespace shoal
