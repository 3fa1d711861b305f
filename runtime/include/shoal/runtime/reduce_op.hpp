// How elements of the ranks are combined.
#pragma once

#include <cstdint>
#include <string_view>

namespace shoal {

/// Element-wise reduction. A NaN in any input of min or max gives NaN. avg divides the sum by the
/// number of ranks; for integers it truncates toward zero. Sums of bf16 and f16 are accumulated in
/// single precision. Integer overflow wraps.
enum class ReduceOp : std::uint8_t { sum, min, max, prod, avg };

/// All of them, in the order of the enumeration.
inline constexpr ReduceOp all_reduce_ops[] = {ReduceOp::sum, ReduceOp::min, ReduceOp::max,
                                              ReduceOp::prod, ReduceOp::avg};

/// "sum", "min", ...
std::string_view name_of(ReduceOp op) noexcept;
/// The inverse of name_of. Throws UsageError.
ReduceOp parse_reduce_op(std::string_view text);

}  // namespace shoal
