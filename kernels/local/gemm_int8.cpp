#include <algorithm>
#include <atomic>
#include <string>

#include <oneapi/dnnl/dnnl.h>

#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/isa.hpp>
#include <shoal/runtime/signals_held.hpp>

#include "convert_kernels.hpp"
#include "gemm_check.hpp"
#include "kernel_log.hpp"
#include "onednn_bf16.hpp"
#include "skinny.hpp"
#include "threads.hpp"
#include "tiles.hpp"

namespace shoal::kernels {
namespace {

const ConvertKernels& convert() { return SHOAL_SELECT_KERNELS(convert_kernels); }

// Without VNNI, oneDNN adds pairs of products in saturating 16-bit arithmetic, which is not exact.
bool onednn_is_exact() {
  if (selected_isa() != Isa::avx512) return false;
  switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_avx512_core_vnni:
    case dnnl_cpu_isa_avx512_core_bf16:
    case dnnl_cpu_isa_avx512_core_amx:
      return true;
    default:
      return false;
  }
}

// Leaves int32 sums in the memory of C.
void integer_product(Index m, Index n, Index k, const std::int8_t* a, Index lda,
                     const std::int8_t* b, Index ldb, float* c, Index ldc) {
  if (skinny_int8(m, n, k, a, lda, b, ldb, c, ldc)) {
    tell_kernel("gemm_int8", Trans::no, Trans::yes, m, n, k, "shoal, few rows");
    return;
  }
  const bool by_onednn = onednn_is_exact();
  tell_kernel("gemm_int8", Trans::no, Trans::yes, m, n, k,
              by_onednn ? "oneDNN s8s8s32" : "shoal int8");
  if (by_onednn) {
    const SignalsHeld held;
    std::atomic<int> failed = dnnl_success;
    over_tiles(m, n, k, 3, [&](const Tile& tile) {
      const std::int32_t no_offset = 0;
      const dnnl_status_t status = dnnl_gemm_s8s8s32(
          'N', 'T', 'F', tile.rows, tile.columns, k, 1.0f, a + tile.row * lda, lda, 0,
          b + tile.column * ldb, ldb, 0, 0.0f,
          reinterpret_cast<std::int32_t*>(c) + tile.row * ldc + tile.column, ldc, &no_offset);
      if (status != dnnl_success) failed = status;
    });
    if (failed != dnnl_success) {
      throw Error("gemm_int8", "oneDNN failed with status " + std::to_string(failed),
                  "set SHOAL_ISA=avx2");
    }
    return;
  }
  // Threads own columns; four rows of B stay in the first-level cache while the rows of A pass.
  parallel_ranges(n, 4, std::max<Index>(4, 65536 / std::max<Index>(1, m * k)),
                  [&](Index begin, Index end) {
                    Index j = begin;
                    for (; j + 4 <= end; j += 4) {
                      for (Index i = 0; i < m; ++i) {
                        std::int32_t sums[4];
                        convert().dot4_int8(k, a + i * lda, b + j * ldb, ldb, sums);
                        __builtin_memcpy(c + i * ldc + j, sums, sizeof sums);
                      }
                    }
                    for (; j < end; ++j) {
                      for (Index i = 0; i < m; ++i) {
                        const std::int32_t sum = convert().dot_int8(k, a + i * lda, b + j * ldb);
                        __builtin_memcpy(c + i * ldc + j, &sum, sizeof sum);
                      }
                    }
                  });
}

}  // namespace

void gemm_int8(Index m, Index n, Index k, const std::int8_t* a, Index lda, const float* a_scale,
               const std::int8_t* b, Index ldb, const float* b_scale, float* c, Index ldc) {
  check_gemm("gemm_int8", Trans::no, Trans::yes, m, n, k, lda, ldb, ldc);
  constexpr Index longest = 131071;
  if (k > longest) {
    throw Error("gemm_int8", "sums of " + std::to_string(k) + " products can exceed an int32",
                "split k into parts of at most " + std::to_string(longest));
  }
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (Index i = 0; i < m; ++i) std::fill_n(c + i * ldc, n, 0.0f);
  } else {
    integer_product(m, n, k, a, lda, b, ldb, c, ldc);
  }
  parallel_ranges(m, 1, row_grain(n), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      convert().scale_int32(n, a_scale == nullptr ? 1.0f : a_scale[i], b_scale, c + i * ldc);
    }
  });
}

void quantize_rows(Index rows, Index cols, const float* x, std::int8_t* q, float* scale) {
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      scale[r] = convert().quantize(cols, x + r * cols, q + r * cols);
    }
  });
}

std::string gemm_backend_int8() {
  if (onednn_is_exact()) return onednn_version() + " s8s8s32 (vnni)";
  return "shoal int8 (" + std::string(name_of(selected_isa())) + ")";
}

}  // namespace shoal::kernels
