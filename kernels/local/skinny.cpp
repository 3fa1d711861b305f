#include "skinny.hpp"

#include <cstdlib>

#include <shoal/runtime/isa.hpp>

#include "convert_kernels.hpp"
#include "gemm_check.hpp"
#include "scratch.hpp"
#include "skinny_kernels.hpp"
#include "threads.hpp"

namespace shoal::kernels {
namespace {

const SkinnyKernels& skinny() { return SHOAL_SELECT_KERNELS(skinny_kernels); }
const ConvertKernels& rows() { return SHOAL_SELECT_KERNELS(convert_kernels); }

// Null where the processor has none.
const SkinnyInt8Kernels* int8_dots() {
#if defined(SHOAL_SIMD_HAS_AVX512_VNNI)
  if (selected_isa() == Isa::avx512 && has_avx512_vnni()) return &avx512_vnni::skinny_int8_kernels;
#endif
  return nullptr;
}

// Null where gemm does not multiply bf16 in hardware, or the processor not in AVX-512.
const SkinnyBf16Kernels* bf16_dots() {
#if defined(SHOAL_SIMD_HAS_AVX512_BF16)
  if (selected_isa() == Isa::avx512 && has_avx512_bf16() && multiplies_bf16()) {
    return &avx512_bf16::skinny_bf16_kernels;
  }
#endif
  return nullptr;
}

Scratch& arranged_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

Scratch& row_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

// Rows of weights, in elements, from which on libraries pack their columns slowly; and weights, in
// elements, that do not stay in the caches.
constexpr Index long_rows = 2048;
constexpr Index large_weights = Index{1} << 22;

Index padded(Index k) { return (k + skinny_step - 1) / skinny_step * skinny_step; }

// Each thread takes some rows of W: enough to be worth waking it.
template <class Body>
void over_weights(Index m, Index n, Index k, const Body& body) {
  constexpr Index least_products = 1 << 17;
  parallel_ranges(n, 24, std::max<Index>(24, least_products / std::max<Index>(1, m * k)), body);
}

template <class Body>
void arrange_rows(Index m, Index k, const Body& arrange_row) {
  constexpr Index least_elements = 1 << 15;
  parallel_ranges(m, 1, std::max<Index>(1, least_elements / std::max<Index>(1, k)),
                  [&](Index begin, Index end) {
                    for (Index i = begin; i < end; ++i) arrange_row(i);
                  });
}

// arrange_row(i, x) puts row i of A into x, which is then in the order of `kernel`.
template <class Arranged, class Weight, class ArrangeRow>
void product_of_few(Index m, Index n, Index k, float alpha, const Weight* b, Index ldb, float beta,
                    float* c, Index ldc, SkinnyProduct<Arranged, Weight>* kernel,
                    ArrangeRow arrange_row) {
  auto* const x = arranged_scratch().get<Arranged>(static_cast<std::size_t>(m * padded(k)));
  arrange_rows(m, k, [&](Index i) { arrange_row(i, x); });
  over_weights(m, n, k, [&](Index begin, Index end) {
    kernel(m, end - begin, k, alpha, x, b + begin * ldb, ldb, beta, c + begin, ldc);
  });
}

}  // namespace

bool is_skinny(Trans ta, Trans tb, Index m, Index most_rows) {
  static const bool library_is_chosen = [] {
    for (const char* variable : {"SHOAL_FP32_BACKEND", "SHOAL_BF16_BACKEND"}) {
      const char* wish = std::getenv(variable);
      if (wish != nullptr && *wish != '\0') return true;
    }
    return false;
  }();
  return ta == Trans::no && tb == Trans::yes && m <= most_rows && !library_is_chosen;
}

Index most_rows_of_fp32(Index k) {
  return selected_isa() == Isa::avx512 && k >= long_rows ? 64 : 16;
}

Index most_rows_rounded(Index n, Index k) {
  if (bf16_dots() == nullptr) return 7;
  return n * k >= large_weights ? 96 : 48;
}

Index most_rows_of_bf16(Index n, Index k) {
  if (bf16_dots() == nullptr) return 5;
  return n * k >= large_weights ? 48 : 16;
}

Index most_rows_of_int8(Index n, Index k) {
  if (int8_dots() == nullptr) return 0;
  return n * k >= large_weights ? 96 : n * k >= large_weights / 4 ? 8 : 6;
}

void skinny_fp32(Index m, Index n, Index k, float alpha, const float* a, Index lda, const float* b,
                 Index ldb, float beta, float* c, Index ldc) {
  product_of_few(m, n, k, alpha, b, ldb, beta, c, ldc, skinny().fp32,
                 [&](Index i, float* x) { skinny().arrange(m, i, k, a + i * lda, x); });
}

void skinny_rounded(Index m, Index n, Index k, float alpha, const float* a, Index lda,
                    const float* b, Index ldb, float beta, float* c, Index ldc) {
  const auto length = static_cast<std::size_t>(k);
  if (const SkinnyBf16Kernels* const dots = bf16_dots()) {
    return product_of_few(m, n, k, alpha, b, ldb, beta, c, ldc, dots->rounded,
                          [&](Index i, std::uint16_t* x) {
                            auto* const row = row_scratch().get<std::uint16_t>(length);
                            rows().to_bf16(k, a + i * lda, row);
                            dots->arrange(m, i, k, row, x);
                          });
  }
  product_of_few(m, n, k, alpha, b, ldb, beta, c, ldc, skinny().rounded, [&](Index i, float* x) {
    auto* const row = row_scratch().get<float>(length);
    rows().round_to_bf16(k, a + i * lda, row);
    skinny().arrange(m, i, k, row, x);
  });
}

void skinny_bf16(Index m, Index n, Index k, const bfloat16* a, Index lda, const bfloat16* b,
                 Index ldb, float* c, Index ldc) {
  const auto* const x_bits = reinterpret_cast<const std::uint16_t*>(a);
  const auto* const w_bits = reinterpret_cast<const std::uint16_t*>(b);
  if (const SkinnyBf16Kernels* const dots = bf16_dots()) {
    return product_of_few(
        m, n, k, 1.0f, w_bits, ldb, 0.0f, c, ldc, dots->bf16,
        [&](Index i, std::uint16_t* x) { dots->arrange(m, i, k, x_bits + i * lda, x); });
  }
  product_of_few(m, n, k, 1.0f, w_bits, ldb, 0.0f, c, ldc, skinny().bf16, [&](Index i, float* x) {
    auto* const row = row_scratch().get<float>(static_cast<std::size_t>(k));
    rows().from_bf16(k, x_bits + i * lda, row);
    skinny().arrange_pairs(m, i, k, row, x);
  });
}

bool skinny_int8(Index m, Index n, Index k, const std::int8_t* a, Index lda, const std::int8_t* b,
                 Index ldb, float* c, Index ldc) {
  if (m > most_rows_of_int8(n, k)) return false;
  const SkinnyInt8Kernels* const dots = int8_dots();
  auto* const x = arranged_scratch().get<std::int8_t>(static_cast<std::size_t>(m * padded(k)));
  auto* const row_sums = row_scratch().get<std::int32_t>(static_cast<std::size_t>(m));
  arrange_rows(m, k, [&](Index i) { row_sums[i] = dots->arrange(m, i, k, a + i * lda, x); });
  auto* const sums = reinterpret_cast<std::int32_t*>(c);
  over_weights(m, n, k, [&](Index begin, Index end) {
    dots->product(m, end - begin, k, x, row_sums, b + begin * ldb, ldb, sums + begin, ldc);
  });
  return true;
}

}  // namespace shoal::kernels
