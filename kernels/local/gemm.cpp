#include <shoal/kernels/local/gemm.hpp>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include <cblas.h>
#include <oneapi/dnnl/dnnl.h>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/isa.hpp>
#include <shoal/runtime/signals_held.hpp>

#include "convert_kernels.hpp"
#include "gemm_check.hpp"
#include "gemm_split.hpp"
#include "kernel_log.hpp"
#include "onednn_bf16.hpp"
#include "packing_room.hpp"
#include "scratch.hpp"
#include "skinny.hpp"
#include "threads.hpp"
#include "tiles.hpp"

namespace shoal::kernels {
namespace {

enum class Fp32Backend { openblas, onednn };
enum class Bf16Backend { onednn, rounded };

// The environment's wish, or `automatic`.
template <class Backend>
Backend backend_from(const char* variable, std::pair<const char*, Backend> first,
                     std::pair<const char*, Backend> second, Backend automatic) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return automatic;
  for (const auto& [name, backend] : {first, second}) {
    if (std::string_view(text) == name) return backend;
  }
  throw UsageError(variable, "unknown backend '" + std::string(text) + "'",
                   std::string("use ") + first.first + " or " + second.first);
}

// oneDNN is at least as fast for every shape of a GPT that was measured (one thread of a Sapphire
// Rapids Xeon, GFLOP/s: oneDNN 140 to 190, OpenBLAS 0.3.21 120 to 160), and it goes by the
// processor's features where this OpenBLAS goes by its model number: on Xeons it does not know it
// falls back to SSE3, at 33.
Fp32Backend fp32_backend() {
  static const Fp32Backend backend =
      backend_from<Fp32Backend>("SHOAL_FP32_BACKEND", {"openblas", Fp32Backend::openblas},
                                {"onednn", Fp32Backend::onednn}, Fp32Backend::onednn);
  return backend;
}

Bf16Backend bf16_backend() {
  static const Bf16Backend backend = [] {
    const std::string_view arithmetic = onednn_bf16_arithmetic();
    const bool slow = arithmetic.empty() || arithmetic == "emulated";
    const Bf16Backend chosen = backend_from<Bf16Backend>(
        "SHOAL_BF16_BACKEND", {"onednn", Bf16Backend::onednn}, {"rounded", Bf16Backend::rounded},
        slow ? Bf16Backend::rounded : Bf16Backend::onednn);
    if (chosen == Bf16Backend::onednn && arithmetic.empty()) {
      throw UsageError("SHOAL_BF16_BACKEND", "oneDNN cannot multiply bf16 on this processor",
                       "use rounded");
    }
    return chosen;
  }();
  return backend;
}

const ConvertKernels& convert() { return SHOAL_SELECT_KERNELS(convert_kernels); }

void scale_matrix(Index m, Index n, float beta, float* c, Index ldc) {
  for (Index i = 0; i < m; ++i) {
    float* const row = c + i * ldc;
    if (beta == 0) {
      std::fill_n(row, n, 0.0f);
    } else {
      for (Index j = 0; j < n; ++j) row[j] *= beta;
    }
  }
}

void gemm_fp32(Trans ta, Trans tb, Index m, Index n, Index k, float alpha, const float* a,
               Index lda, const float* b, Index ldb, float beta, float* c, Index ldc) {
  const SignalsHeld held;
  if (fp32_backend() == Fp32Backend::openblas) {
    cblas_sgemm(CblasRowMajor, ta == Trans::yes ? CblasTrans : CblasNoTrans,
                tb == Trans::yes ? CblasTrans : CblasNoTrans, static_cast<blasint>(m),
                static_cast<blasint>(n), static_cast<blasint>(k), alpha, a,
                static_cast<blasint>(lda), b, static_cast<blasint>(ldb), beta, c,
                static_cast<blasint>(ldc));
    return;
  }
  warm_packing_room(m, n, k);
  // One failure is enough to tell of.
  std::atomic<int> failed = dnnl_success;
  const auto multiply = [&](const Tile& tile) {
    const dnnl_status_t status =
        dnnl_sgemm(ta == Trans::yes ? 'T' : 'N', tb == Trans::yes ? 'T' : 'N', tile.rows, tile.columns,
                   k, alpha, a + (ta == Trans::yes ? tile.row : tile.row * lda), lda,
                   b + (tb == Trans::yes ? tile.column * ldb : tile.column), ldb, beta,
                   c + tile.row * ldc + tile.column, ldc);
    if (status != dnnl_success) failed = status;
  };
  // oneDNN's own division costs products of few rows or columns up to half of their speed: 256 x 768 x 3072
  // by two threads takes 8.6 ms and in tiles 6.1, 64 x 768 x 3072 4.5 and 2.1 (EPYC, Zen 4). Where B lies
  // transposed its packing takes three times as long an element.
  constexpr Index large = 1536;
  if (std::min(m, n) < large) {
    over_tiles(m, n, k, tb == Trans::yes ? 3 : 1, multiply);
  } else {
    multiply({0, m, 0, n});
  }
  if (failed != dnnl_success) {
    throw Error("gemm", "oneDNN's sgemm failed with status " + std::to_string(failed),
                "set SHOAL_FP32_BACKEND=openblas");
  }
}

// Rows of a matrix of `rows` × `cols` converted into a dense one, in parallel.
template <class To, class From, class ConvertRow>
void convert_rows(Index rows, Index cols, const From* x, Index ld, To* y, ConvertRow convert_row) {
  parallel_ranges(rows, 1, row_grain(cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) convert_row(cols, x + r * ld, y + r * cols);
  });
}

// Of one product: C is m × n, the sum runs over k.
struct Extents {
  Index m, n, k;
};

// Rows and columns of op(X) [r × c] as it lies in memory.
std::pair<Index, Index> stored(Trans t, Index r, Index c) {
  return t == Trans::no ? std::pair{r, c} : std::pair{c, r};
}

void to_bf16_row(Index n, const float* x, bfloat16* y) {
  convert().to_bf16(n, x, reinterpret_cast<std::uint16_t*>(y));
}

void from_bf16_row(Index n, const bfloat16* x, float* y) {
  convert().from_bf16(n, reinterpret_cast<const std::uint16_t*>(x), y);
}

// Converted operands of one product; kept, since the next product is often of the same size.
Scratch& operand_scratch(int which) {
  static thread_local Scratch scratch[2];
  return scratch[which];
}

// C = alpha·op(A)·op(B) + beta·C on copies of A and B that `convert_row` makes, panel by panel over
// the longest of m, n and k, so that the copies stay small. Panels of k add up in C.
template <class Copy, class From, class ConvertRow, class Product>
void gemm_converted(Trans ta, Trans tb, Index m, Index n, Index k, const From* a, Index lda,
                    const From* b, Index ldb, float beta, float* c, Index ldc,
                    ConvertRow convert_row, const Product& product) {
  const auto panel = [](Index elements_a_step, Index elements = Index{1} << 22) {
    return std::max<Index>(64, elements / std::max<Index>(1, elements_a_step) / 64 * 64);
  };
  const auto copy = [&](int which, Trans t, Index r, Index c_, const From* x, Index ld) {
    const auto [rows, cols] = stored(t, r, c_);
    Copy* const y = operand_scratch(which).get<Copy>(static_cast<std::size_t>(rows * cols));
    convert_rows(rows, cols, x, ld, y, convert_row);
    return y;
  };
  const auto at_row = [](Trans t, Index row, Index ld) { return t == Trans::no ? row * ld : row; };
  const auto at_col = [](Trans t, Index col, Index ld) { return t == Trans::no ? col : col * ld; };
  const auto ld_of = [](Trans t, Index r, Index c_) { return stored(t, r, c_).second; };

  if (k > m && k > n) {
    const Index longest = panel(m + n);
    for (Index begin = 0; begin < k; begin += longest) {
      const Index count = std::min(longest, k - begin);
      const Copy* x = copy(0, ta, m, count, a + at_col(ta, begin, lda), lda);
      const Copy* y = copy(1, tb, count, n, b + at_row(tb, begin, ldb), ldb);
      product({m, n, count}, x, ld_of(ta, m, count), y, ld_of(tb, count, n),
              begin == 0 ? beta : 1.0f, c);
    }
  } else if (m > n) {
    const Index longest = panel(k);
    const Copy* y = copy(1, tb, k, n, b, ldb);
    for (Index begin = 0; begin < m; begin += longest) {
      const Index count = std::min(longest, m - begin);
      const Copy* x = copy(0, ta, count, k, a + at_row(ta, begin, lda), lda);
      product({count, n, k}, x, ld_of(ta, count, k), y, ld_of(tb, k, n), beta, c + begin * ldc);
    }
  } else {
    // Logits of GPT-2, 1024 x 25152 of 768, on one core of an EPYC (Zen 5): 317 GFLOP/s in pieces of
    // 2^22 elements, 371 in pieces of half of that.
    const Index longest = panel(k, Index{1} << 21);
    const Copy* x = copy(0, ta, m, k, a, lda);
    for (Index begin = 0; begin < n; begin += longest) {
      const Index count = std::min(longest, n - begin);
      const Copy* y = copy(1, tb, k, count, b + at_col(tb, begin, ldb), ldb);
      product({m, count, k}, x, ld_of(ta, m, k), y, ld_of(tb, k, count), beta, c + begin);
    }
  }
}

void gemm_rounded(Trans ta, Trans tb, Index m, Index n, Index k, float alpha, const float* a,
                  Index lda, const float* b, Index ldb, float beta, float* c, Index ldc) {
  if (bf16_backend() == Bf16Backend::onednn) {
    gemm_converted<bfloat16>(
        ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc, to_bf16_row,
        [&](const Extents& e, const bfloat16* x, Index ldx, const bfloat16* y, Index ldy,
            float part_beta, float* z) {
          onednn_gemm_bf16({ta, tb, e.m, e.n, e.k, ldx, ldy, ldc, alpha, part_beta}, x, y, z);
        });
  } else {
    gemm_converted<float>(
        ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc, convert().round_to_bf16,
        [&](const Extents& e, const float* x, Index ldx, const float* y, Index ldy,
            float part_beta, float* z) {
          gemm_fp32(ta, tb, e.m, e.n, e.k, alpha, x, ldx, y, ldy, part_beta, z, ldc);
        });
  }
}

}  // namespace

void check_gemm(const char* operation, Trans ta, Trans tb, Index m, Index n, Index k, Index lda,
                Index ldb, Index ldc) {
  constexpr Index limit = std::numeric_limits<std::int32_t>::max();
  for (const auto& [name, value] :
       {std::pair{"m", m}, std::pair{"n", n}, std::pair{"k", k}, std::pair{"lda", lda},
        std::pair{"ldb", ldb}, std::pair{"ldc", ldc}}) {
    if (value < 0 || value > limit) {
      throw Error(operation, std::string(name) + " = " + std::to_string(value) + " is out of range",
                  "pass extents in [0, 2^31)");
    }
  }
  const auto check = [&](const char* name, Index ld, std::pair<Index, Index> extents) {
    if (ld >= extents.second) return;
    if (extents.first <= 0 || extents.second <= 0) return;
    throw Error(operation,
                std::string(name) + " = " + std::to_string(ld) + " but rows hold " +
                    std::to_string(extents.second) + " elements",
                "pass the distance between rows");
  };
  check("lda", lda, stored(ta, m, k));
  check("ldb", ldb, stored(tb, k, n));
  check("ldc", ldc, {m, n});
}

void gemm(Trans ta, Trans tb, Index m, Index n, Index k, float alpha, const float* a, Index lda,
          const float* b, Index ldb, float beta, float* c, Index ldc, Precision precision) {
  check_gemm("gemm", ta, tb, m, n, k, lda, ldb, ldc);
  if (m == 0 || n == 0) return;
  if (k == 0 || alpha == 0) return scale_matrix(m, n, beta, c, ldc);
  const char* const name = precision == Precision::fp32   ? "gemm fp32"
                           : precision == Precision::bf16 ? "gemm bf16"
                                                          : "gemm bf16x";
  const auto tell = [&](std::string_view kernel) {
    tell_kernel(name, ta, tb, m, n, k, kernel);
  };
  const Index few =
      precision == Precision::bf16 ? most_rows_rounded(n, k) : most_rows_of_fp32(k);
  if (is_skinny(ta, tb, m, few)) {
    // The weights pass by once, whatever the arithmetic.
    tell("shoal, few rows");
    if (precision == Precision::bf16) {
      skinny_rounded(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    } else {
      skinny_fp32(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    }
  } else if (precision == Precision::bf16) {
    tell(bf16_backend() == Bf16Backend::onednn ? "oneDNN bf16" : "rounded, fp32");
    gemm_rounded(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  } else if (precision != Precision::fp32 && splits()) {
    const int parts = precision == Precision::bf16x2 ? 2 : 3;
    tell(parts == 2 ? "oneDNN bf16, 3 products" : "oneDNN bf16, 6 products");
    gemm_split(parts, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  } else {
    tell(fp32_backend() == Fp32Backend::openblas ? "OpenBLAS sgemm" : "oneDNN sgemm");
    gemm_fp32(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  }
}

void gemm_bf16(Trans ta, Trans tb, Index m, Index n, Index k, const bfloat16* a, Index lda,
               const bfloat16* b, Index ldb, float* c, Index ldc) {
  check_gemm("gemm_bf16", ta, tb, m, n, k, lda, ldb, ldc);
  if (m == 0 || n == 0) return;
  if (k == 0) return scale_matrix(m, n, 0, c, ldc);
  if (is_skinny(ta, tb, m, most_rows_of_bf16(n, k))) {
    tell_kernel("gemm_bf16", ta, tb, m, n, k, "shoal, few rows");
    return skinny_bf16(m, n, k, a, lda, b, ldb, c, ldc);
  }
  if (bf16_backend() == Bf16Backend::onednn) {
    tell_kernel("gemm_bf16", ta, tb, m, n, k, "oneDNN bf16");
    onednn_gemm_bf16({ta, tb, m, n, k, lda, ldb, ldc, 1.0f, 0.0f}, a, b, c);
    return;
  }
  tell_kernel("gemm_bf16", ta, tb, m, n, k, "widened, fp32");
  gemm_converted<float>(
      ta, tb, m, n, k, a, lda, b, ldb, 0.0f, c, ldc, from_bf16_row,
      [&](const Extents& e, const float* x, Index ldx, const float* y, Index ldy, float part_beta,
          float* z) { gemm_fp32(ta, tb, e.m, e.n, e.k, 1.0f, x, ldx, y, ldy, part_beta, z, ldc); });
}

bool multiplies_bf16() { return bf16_backend() == Bf16Backend::onednn; }

std::string gemm_backend(Precision precision) {
  std::string fp32;
  if (fp32_backend() == Fp32Backend::openblas) {
    // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...": name and version.
    const std::string config = openblas_get_config();
    const std::string version = config.substr(0, config.find(' ', config.find(' ') + 1));
    fp32 = version + " sgemm (" + openblas_get_corename() +
           (openblas_get_parallel() == 2 ? ", openmp)" : ")");
  } else {
    fp32 = onednn_version() + " sgemm";
  }
  if (precision == Precision::bf16x2 || precision == Precision::bf16x3) {
    if (!splits()) return fp32;
    return onednn_version() + " bf16 (" + std::string(onednn_bf16_arithmetic()) + "), " +
           (precision == Precision::bf16x2 ? "3" : "6") + " products";
  }
  if (precision == Precision::fp32) return fp32;
  if (bf16_backend() == Bf16Backend::rounded) return "operands rounded to bf16, " + fp32;
  return onednn_version() + " bf16 (" + std::string(onednn_bf16_arithmetic()) + ")";
}

}  // namespace shoal::kernels
