// Attention whose products are of bf16 operands in hardware: pairs of neighbours along the sum, two
// multiply-adds a lane. Softmax and its gradient are those of fp32, and so are all sums.
#include <immintrin.h>

#include "attention_rows.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

using Pair = std::uint32_t;  // two bfloat16, the first in the lower half

constexpr Index lanes = vector_floats;
constexpr Index panel_columns = panel_floats;
constexpr Index group = strip / 2;  // pairs of a strip of query rows

/// Pairs along the sum: that of index p of row i at data[i·row + p·pair + p/group·skip].
struct PairRows {
  const Pair* data;
  Index row, pair;
  Index skip = 0;
};

/// Pairs along the sum, `ld` apart, of columns that come in panels of panel_columns, `panel` apart.
struct PairPanels {
  const Pair* data;
  Index ld;
  Index panel = panel_columns;
};

template <int Rows, int Vectors>
inline void dot_tile(Index pairs, const PairRows& a, const Pair* b, Index ldb, float* c, Index ldc,
                     bool accumulate) {
  __m512 sums[Rows][Vectors];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      sums[i][v] = accumulate ? _mm512_loadu_ps(c + i * ldc + v * lanes) : _mm512_setzero_ps();
    }
  }
  const Pair* at = a.data;
  const auto step = [&] {
    __m512bh row[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) row[v] = (__m512bh)_mm512_loadu_si512(b + v * lanes);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const auto value = (__m512bh)_mm512_set1_epi32(static_cast<int>(at[i * a.row]));
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sums[i][v] = _mm512_dpbf16_ps(sums[i][v], value, row[v]);
    }
    at += a.pair;
    b += ldb;
  };
  for (; pairs >= group; pairs -= group, at += a.skip) {
#pragma GCC unroll 4
    for (Index p = 0; p < group; ++p) step();
  }
  for (; pairs > 0; --pairs) step();
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) _mm512_storeu_ps(c + i * ldc + v * lanes, sums[i][v]);
  }
}

template <int Rows>
inline void dot_rows(Index n, Index pairs, const PairRows& a, const PairPanels& b, float* c,
                     Index ldc, bool accumulate) {
  const Pair* panel = b.data;
  Index j = 0;
  for (; j + panel_columns <= n; j += panel_columns, panel += b.panel) {
    dot_tile<Rows, 2>(pairs, a, panel, b.ld, c + j, ldc, accumulate);
  }
  if (j < n) dot_tile<Rows, 1>(pairs, a, panel, b.ld, c + j, ldc, accumulate);
}

/// C[m×n] = A·B, or += where accumulate is set; n is a multiple of `lanes`.
void dot_product(Index m, Index n, Index pairs, PairRows a, const PairPanels& b, float* c,
                 Index ldc, bool accumulate) {
  for (; m >= tile_rows; m -= tile_rows, a.data += tile_rows * a.row, c += tile_rows * ldc) {
    dot_rows<tile_rows>(n, pairs, a, b, c, ldc, accumulate);
  }
  for (; m > 0; --m, a.data += a.row, c += ldc) dot_rows<1>(n, pairs, a, b, c, ldc, accumulate);
}

// n, here and below, is a multiple of `lanes`.
inline __m256i rounded(const float* x) { return (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x)); }

/// Neighbours of a row as pairs.
void round_along(Index n, const float* x, Pair* y) {
  for (Index i = 0; i < n; i += lanes) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i / 2), rounded(x + i));
  }
}

/// Pairs of two rows, of which there may be but one; y may be the first. (Masks: GCC 12 warns of
/// its own header otherwise.)
void round_across(Index n, const float* x, const float* below, Pair* y) {
  for (Index i = 0; i < n; i += lanes) {
    __m512i pairs = _mm512_maskz_cvtepu16_epi32(0xffff, rounded(x + i));
    if (below != nullptr) {
      const __m512i upper = _mm512_maskz_cvtepu16_epi32(0xffff, rounded(below + i));
      pairs = _mm512_or_si512(pairs, _mm512_maskz_slli_epi32(0xffff, upper, 16));
    }
    _mm512_storeu_si512(y + i, pairs);
  }
}

// Tokens begin … end of one head as rows [token, dim / 2].
void gather_along(Index dim, const float* x, Index row, Index begin, Index end, Pair* y) {
  for (Index t = begin; t < end; ++t) round_along(dim, x + t * row, y + t * (dim / 2));
}

// As pairs of tokens [token / 2, dim]; begin is even.
void gather_across(Index dim, const float* x, Index row, Index begin, Index end, Pair* y) {
  for (Index t = begin; t < end; t += 2) {
    round_across(dim, x + t * row, t + 1 < end ? x + (t + 1) * row : nullptr, y + t / 2 * dim);
  }
}

// The transpose, as pairs along dim: panels of tokens [dim / 2, panel_columns], with zeros up to a
// whole panel; begin is the first of one.
void gather_transposed(Index dim, const float* x, Index row, Index begin, Index end, Pair* y) {
  const Index pairs = dim / 2;
  for (Index first = begin; first < end; first += panel_columns) {
    Pair* const panel = y + first * pairs;
    for (Index j = 0; j < panel_columns; ++j) {
      const Index t = first + j;
      for (Index p = 0; p < pairs; p += lanes / 2) {
        alignas(32) Pair some[lanes / 2] = {};
        if (t < end) round_along(lanes, x + t * row + 2 * p, some);
        for (Index q = 0; q < lanes / 2; ++q) panel[(p + q) * panel_columns + j] = some[q];
      }
    }
  }
}

Index whole_vectors(Index n) { return (n + lanes - 1) / lanes * lanes; }

void forward(const AttentionHead& head, Index first_block, Index stride, float* out,
             float* log_sum_exp, float* work) {
  const Index dim = head.head_dim;
  const Index score_row = attention_score_stride(head.time);
  float* const scores = work;
  Pair* const p = reinterpret_cast<Pair*>(scores + strip * score_row);
  Pair* const q = reinterpret_cast<Pair*>(scores + attention_block * score_row);
  Pair* const k_panels = q + attention_block * dim;
  Pair* const v = k_panels + score_row * dim;

  const Index blocks = (head.time + attention_block - 1) / attention_block;
  const Index last_block = first_block + (blocks - 1 - first_block) / stride * stride;
  const Index prefix = smaller(head.time, (last_block + 1) * attention_block);
  gather_transposed(dim, head.k, head.row, 0, prefix, k_panels);
  gather_across(dim, head.v, head.row, 0, prefix, v);

  for (Index block = first_block; block < blocks; block += stride) {
    const Index begin = block * attention_block;
    const Index end = smaller(head.time, begin + attention_block);
    gather_along(dim, head.q + begin * head.row, head.row, 0, end - begin, q);
    for (Index first = begin; first < end; first += strip) {
      const Index rows = smaller(strip, end - first);
      const Index width = first + rows;
      const Index padded = whole_vectors(width);
      dot_product(rows, round_up(width), dim / 2, {q + (first - begin) * (dim / 2), dim / 2, 1},
                  {k_panels, panel_columns, panel_columns * (dim / 2)}, scores, score_row, false);
      for (Index r = 0; r < rows; ++r) {
        float* const row = scores + r * score_row;
        log_sum_exp[first + r] = softmax_row(row, first + r + 1, padded, head.scale);
        if (head.drop) drop_row(head, first + r, row);
        round_along(padded, row, p + r * (score_row / 2));
      }
      dot_product(rows, dim, (width + 1) / 2, {p, score_row / 2, 1}, {v, dim},
                  out + first * head.out_row, head.out_row, false);
    }
  }
}

// Where things lie in the working memory of the backward pass. A strip's 8 rows of p and ds hold
// scores and their gradients first; then the first 4 hold pairs of its rows.
struct PairRoom {
  PairRoom(const AttentionHead& head, Index blocks, float* work)
      : score_row(attention_score_stride(head.time)), p(work) {
    const Index scores = blocks * attention_block * score_row;
    const Index matrix = score_row * head.head_dim;
    ds = p + scores;
    dk_sum = ds + scores;
    dv_sum = dk_sum + matrix;
    k_panels = reinterpret_cast<Pair*>(dv_sum + matrix);
    v_panels = k_panels + matrix / 2;
    q = v_panels + matrix / 2;
    d_out = q + matrix / 2;
    q_across = d_out + matrix / 2;
    k_across = q_across + matrix / 2;
    d_out_across = k_across + matrix / 2;
  }
  Index score_row;
  float *p, *ds;  // of the blocks at work
  float *dk_sum, *dv_sum;
  Pair *k_panels, *v_panels;  // transposed
  Pair *q, *d_out;            // along dim
  Pair *q_across, *k_across, *d_out_across;
};

void prepare(const AttentionHead& head, const AttentionGradients& gradients, Index begin, Index end,
             Index blocks, float* work) {
  const PairRoom room(head, blocks, work);
  const Index dim = head.head_dim;
  gather_transposed(dim, head.k, head.row, begin, end, room.k_panels);
  gather_transposed(dim, head.v, head.row, begin, end, room.v_panels);
  gather_along(dim, head.q, head.row, begin, end, room.q);
  gather_along(dim, gradients.dout, head.out_row, begin, end, room.d_out);
  gather_across(dim, head.q, head.row, begin, end, room.q_across);
  gather_across(dim, head.k, head.row, begin, end, room.k_across);
  gather_across(dim, gradients.dout, head.out_row, begin, end, room.d_out_across);
  for (Index i = begin * dim; i < end * dim; ++i) {
    room.dk_sum[i] = 0.0f;
    room.dv_sum[i] = 0.0f;
  }
}

// Of a strip, in place.
void pair_rows(Index rows, Index padded, float* strip_rows, Index score_row) {
  for (Index r = 0; r < rows; r += 2) {
    const float* const row = strip_rows + r * score_row;
    round_across(padded, row, r + 1 < rows ? row + score_row : nullptr,
                 reinterpret_cast<Pair*>(strip_rows + r / 2 * score_row));
  }
}

void queries(const AttentionHead& head, const AttentionGradients& gradients, Index first,
             Index begin, Index blocks, float* work) {
  const PairRoom room(head, blocks, work);
  AttentionHead plain = head;
  plain.round_bf16 = false;  // done when pairs are made
  const Index dim = head.head_dim;
  const Index score_row = room.score_row;
  const Index rows = smaller(strip, head.time - first);
  const Index width = first + rows;
  const Index padded = whole_vectors(width);
  float* const p_strip = room.p + (first - begin) * score_row;
  float* const ds_strip = room.ds + (first - begin) * score_row;
  const Index panel = panel_columns * (dim / 2);
  dot_product(rows, round_up(width), dim / 2, {room.q + first * (dim / 2), dim / 2, 1},
              {room.k_panels, panel_columns, panel}, p_strip, score_row, false);
  dot_product(rows, round_up(width), dim / 2, {room.d_out + first * (dim / 2), dim / 2, 1},
              {room.v_panels, panel_columns, panel}, ds_strip, score_row, false);
  for (Index r = 0; r < rows; ++r) {
    const Index i = first + r;
    const float dot = output_dot(head, gradients, i);
    gradient_row(plain, i, padded, gradients.log_sum_exp[i], dot, p_strip + r * score_row,
                 ds_strip + r * score_row);
  }
  pair_rows(rows, padded, p_strip, score_row);
  Pair* const along = reinterpret_cast<Pair*>(p_strip + group * score_row);
  for (Index r = 0; r < rows; ++r) {
    round_along(padded, ds_strip + r * score_row, along + r * (score_row / 2));
  }
  pair_rows(rows, padded, ds_strip, score_row);
  dot_product(rows, dim, (width + 1) / 2, {along, score_row / 2, 1}, {room.k_across, dim},
              gradients.dq + first * head.row, head.row, false);
}

void keys(const AttentionHead& head, Index first, Index begin, Index end, Index blocks,
          float* work) {
  const PairRoom room(head, blocks, work);
  const Index dim = head.head_dim;
  const Index score_row = room.score_row;
  for (Index block = begin; block < end; block += attention_block) {
    const Index block_end = smaller(end, block + attention_block);
    if (first >= block_end) continue;
    const Index rows = smaller(strip, block_end - first);
    // Keys of a strip get nothing from the queries before it.
    const Index from = first > block ? first : block;
    const Index offset = (from - begin) * score_row + first;
    const Index pairs = (block_end - from + 1) / 2;
    const auto columns_of = [&](const float* scores) {
      return PairRows{reinterpret_cast<const Pair*>(scores + offset), 1, score_row,
                      group * score_row};
    };
    dot_product(rows, dim, pairs, columns_of(room.p), {room.d_out_across + from / 2 * dim, dim},
                room.dv_sum + first * dim, dim, true);
    dot_product(rows, dim, pairs, columns_of(room.ds), {room.q_across + from / 2 * dim, dim},
                room.dk_sum + first * dim, dim, true);
  }
}

void finish(const AttentionHead& head, const AttentionGradients& gradients, Index begin, Index end,
            Index blocks, float* work) {
  const PairRoom room(head, blocks, work);
  scatter(head, begin, end, room.dk_sum, gradients.dk);
  scatter(head, begin, end, room.dv_sum, gradients.dv);
}

}  // namespace

extern const AttentionKernels attention_kernels = {forward, prepare, queries, keys, finish};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
