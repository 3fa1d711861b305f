// Elements of any type as numbers, for filling buffers and checking results.
#pragma once

#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/reduce_op.hpp>

namespace shoal::bench {

double element(const void* data, Index index, DType type);
void set_element(void* data, Index index, DType type, double value);

/// What rank `rank` puts at `index`: small whole numbers, so that any order of summation gives the
/// same sum in every type.
double test_value(Rank rank, Index index);
/// What all ranks together must get at `index`.
double expected_value(int ranks, Index index, DType type, ReduceOp op);
/// Largest error of a correct result of that size (the division of an average is rounded).
double tolerance(DType type, double value);

}  // namespace shoal::bench
