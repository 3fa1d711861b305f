// SHOAL_LOG=kernels: which kernel a product takes.
#pragma once

#include <string_view>

#include <shoal/kernels/local/gemm.hpp>

namespace shoal::kernels {

/// One line in the log for each product that differs from those before, if SHOAL_LOG names "kernels".
void tell_kernel(std::string_view operation, Trans ta, Trans tb, Index m, Index n, Index k,
                 std::string_view kernel);

}  // namespace shoal::kernels
