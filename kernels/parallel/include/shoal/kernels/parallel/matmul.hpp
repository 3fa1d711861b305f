// C = A·B of matrices that are divided over ranks.
#pragma once

#include <string>
#include <vector>

#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// What a caller may ask of a distributed product beside its arguments; the same on every rank.
struct MatmulOptions {
  Precision precision = Precision::fp32;
  /// "in_place": parts in node-shared memory are read where they lie; nothing is copied or sent. By
  /// messages, the ranks as a grid of pm × pn × pk, each with a block of C and of the sum: "row"
  /// (p × 1 × 1), "column" (1 × p × 1), "summa" (pm × pn × 1; van de Geijn & Watts 1997), "2.5d" (pk > 1:
  /// spare memory holds pk terms of C, and fewer bytes travel; Solomonik & Demmel 2011, Kwasniewski et
  /// al. 2019). Empty: in_place where it can be, or else the grid that costs least.
  std::string algorithm;
  /// Bytes beside the operands that a rank may use for messages and terms of C; grids that need more are
  /// left out, unless none is left.
  Bytes spare_memory = Bytes{1} << 30;
};

/// C[m×n] = A[m×k]·B[k×n], each dense and row-major in its parts, placed over the ranks of `ranks` as
/// `a_at`, `b_at` and `c_at` say (dimension 0: rows; blocks are those of block_of, and extents need not
/// divide). `c` is written without being read and must not overlap a or b. Blocking and collective.
///
/// While a rank multiplies one slice of the sum, the next is on its way. SHOAL_LOG=kernels tells what was
/// chosen, and what the alternatives would cost.
///
/// Throws UsageError for an unknown algorithm, Error on all ranks if "in_place" is asked for and a part is
/// not in node-shared memory; of a single rank the parts may lie anywhere.
void matmul(const Communicator& ranks, Index m, Index n, Index k, const float* a,
            const Placement& a_at, const float* b, const Placement& b_at, float* c,
            const Placement& c_at, const MatmulOptions& options = {});

/// The same over all axes of a mesh: one placement for each axis of mesh.shape(), in order; where several
/// axes divide the same dimension the earlier one divides first.
void matmul(const Mesh& mesh, Index m, Index n, Index k, const float* a,
            const std::vector<Placement>& a_at, const float* b,
            const std::vector<Placement>& b_at, float* c, const std::vector<Placement>& c_at,
            const MatmulOptions& options = {});

}  // namespace shoal::kernels
