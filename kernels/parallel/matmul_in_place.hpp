// The product where all parts lie in the shared memory of one node.
#pragma once

#include "matmul_layout.hpp"

#include <shoal/kernels/local/gemm.hpp>

namespace shoal::kernels {

/// Does it and returns true, or false, with nothing done, where a rank's part lies elsewhere. Collective:
/// the same answer on every rank.
///
/// Each rank multiplies what its part of C needs, out of the parts of A and B where they lie: nothing
/// is sent, and the cost is that of the arithmetic, m·n·k / p multiply-adds a rank, and two barriers.
/// Ranks that hold the same part of C, or too little of it, share the work by rows and then copy.
bool matmul_in_place(const Product& product, Precision precision);

}  // namespace shoal::kernels
