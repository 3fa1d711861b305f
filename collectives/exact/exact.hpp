// Reductions whose result does not depend on the order of the terms.
//
// In a collective each element is a sum of as many terms as there are ranks. The sum is exact and
// rounded once, so it is the same for any order, grouping or number of ranks: an error of at most half
// a unit in the last place, where plain summation of p terms is off by up to (p−1)·ε·Σ|x|. An
// algorithm keeps that promise if it hands the inputs of all ranks to the reduction at once, and no
// partial sums: Algorithm::reproduces().
#pragma once

#include <string_view>

#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/reduce_op.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// ReduceOp::sum and avg, exact. Not for callers, who set CollectiveOptions::reproducible: a Call
/// carries them where the algorithms would find sum and avg.
inline constexpr ReduceOp exact_sum{101};
inline constexpr ReduceOp exact_avg{102};

inline constexpr bool is_exact(ReduceOp op) noexcept { return op == exact_sum || op == exact_avg; }

/// The exact form of a reduction of elements of that type, where there is one that differs.
constexpr ReduceOp exact_form(ReduceOp op, DType type) noexcept {
  const bool floating = type == DType::f32 || type == DType::f64 || type == DType::bf16 ||
                        type == DType::f16;
  if (!floating) return op;
  return op == ReduceOp::sum ? exact_sum : op == ReduceOp::avg ? exact_avg : op;
}

/// name_of(op), and for the exact ones "reproducible sum" and "reproducible avg".
std::string_view reduction_name(ReduceOp op) noexcept;

/// reduce_elements() for exact_sum and exact_avg. An average is the sum, rounded to fp64 (to odd for
/// narrower types), divided by `ranks` and rounded.
void reduce_exactly(const void* const* inputs, int input_count, void* const* outputs,
                    int output_count, Index count, DType type, ReduceOp op, int ranks, bool stream);

}  // namespace shoal
