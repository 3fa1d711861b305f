#include "skinny.hpp"

#include <cstdlib>

#include <shoal/runtime/isa.hpp>

#include "convert_kernels.hpp"
#include "scratch.hpp"
#include "skinny_kernels.hpp"
#include "threads.hpp"

namespace shoal::kernels {
namespace {

const SkinnyKernels& skinny() { return SHOAL_SELECT_KERNELS(skinny_kernels); }
const ConvertKernels& rows() { return SHOAL_SELECT_KERNELS(convert_kernels); }

Scratch& arranged_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

Scratch& row_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

Index padded(Index k) { return (k + skinny_step - 1) / skinny_step * skinny_step; }

// Each thread takes some rows of W: enough to be worth waking it.
template <class Body>
void over_weights(Index m, Index n, Index k, const Body& body) {
  constexpr Index least_products = 1 << 17;
  parallel_ranges(n, 24, std::max<Index>(24, least_products / std::max<Index>(1, m * k)), body);
}

template <class Weight, class ArrangeRow>
void product_of_few(Index m, Index n, Index k, float alpha, const Weight* b, Index ldb, float beta,
                    float* c, Index ldc, SkinnyProduct<Weight>* kernel, ArrangeRow arrange_row) {
  float* const x = arranged_scratch().get<float>(static_cast<std::size_t>(m * padded(k)));
  for (Index i = 0; i < m; ++i) arrange_row(i, x);
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

void skinny_fp32(Index m, Index n, Index k, float alpha, const float* a, Index lda, const float* b,
                 Index ldb, float beta, float* c, Index ldc) {
  product_of_few(m, n, k, alpha, b, ldb, beta, c, ldc, skinny().fp32,
                 [&](Index i, float* x) { skinny().arrange(m, i, k, a + i * lda, x); });
}

void skinny_rounded(Index m, Index n, Index k, float alpha, const float* a, Index lda,
                    const float* b, Index ldb, float beta, float* c, Index ldc) {
  float* const row = row_scratch().get<float>(static_cast<std::size_t>(k));
  product_of_few(m, n, k, alpha, b, ldb, beta, c, ldc, skinny().rounded,
                 [&](Index i, float* x) {
                   rows().round_to_bf16(k, a + i * lda, row);
                   skinny().arrange(m, i, k, row, x);
                 });
}

void skinny_bf16(Index m, Index n, Index k, const bfloat16* a, Index lda, const bfloat16* b,
                 Index ldb, float* c, Index ldc) {
  float* const row = row_scratch().get<float>(static_cast<std::size_t>(k));
  product_of_few(m, n, k, 1.0f, reinterpret_cast<const std::uint16_t*>(b), ldb, 0.0f, c, ldc,
                 skinny().bf16, [&](Index i, float* x) {
                   rows().from_bf16(k, reinterpret_cast<const std::uint16_t*>(a + i * lda), row);
                   skinny().arrange_pairs(m, i, k, row, x);
                 });
}

bool skinny_int8(Index m, Index n, Index k, const std::int8_t* a, Index lda, const std::int8_t* b,
                 Index ldb, float* c, Index ldc) {
  if (m > most_rows_of_int8 || skinny().int8 == nullptr || !has_avx512_vnni()) return false;
  auto* const x =
      arranged_scratch().get<std::uint8_t>(static_cast<std::size_t>(m * padded(k)));
  for (Index i = 0; i < m; ++i) skinny().arrange_int8(m, i, k, a + i * lda, x);
  auto* const sums = reinterpret_cast<std::int32_t*>(c);
  over_weights(m, n, k, [&](Index begin, Index end) {
    skinny().int8(m, end - begin, k, x, b + begin * ldb, ldb, sums + begin, ldc);
  });
  return true;
}

}  // namespace shoal::kernels
