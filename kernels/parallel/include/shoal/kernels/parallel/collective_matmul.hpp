// Products joined with the collective before or after them, so that it costs no time of its own (Wang et
// al. 2023, "Overlap communication with dependent computation via decomposition").
//
// Matrices with `rows` rows in all are divided by rows over the group: rank r has block_of(rows, p, r) of
// them. Where all ranks are on one node and what others need lies in node-shared memory, nothing is moved:
// rows of others are read as they lie, and sums are made in the memory of those they are for. Otherwise
// the rows come and go in chunks, while other chunks are multiplied. On one node, where a rank has less than
// 256 rows, they are brought together before the product, or divided after it: short products are slower.
//
// All are blocking and collective: the same extents on every rank.
#pragma once

#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// y[rows×n] = X·op(W): of X[rows×k] this rank brings its rows, `x`; W and y are its own.
void all_gather_matmul(const Communicator& group, Index rows, Index n, Index k, const float* x,
                       Trans tw, const float* w, float* y, Precision precision);

/// Σ over the ranks of X·op(W), X[rows×k] and W each rank's own; `y` gets this rank's rows of the sum.
void matmul_reduce_scatter(const Communicator& group, Index rows, Index n, Index k, const float* x,
                           Trans tw, const float* w, float* y, Precision precision);

/// Which operand of gathered_product() is divided over the ranks.
enum class Gathered { left, right };

/// c[m×n] = Aᵀ·B + beta·c, A[rows×m] and B[rows×n], one of which is divided over the ranks (`a` or `b`
/// are this rank's rows of it) and the other this rank's own: the gradient of a weight.
void gathered_product(const Communicator& group, Gathered which, Index rows, Index m, Index n,
                      const float* a, const float* b, float beta, float* c, Precision precision);

}  // namespace shoal::kernels
