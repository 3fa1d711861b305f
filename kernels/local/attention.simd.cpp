#include "attention_kernels.hpp"
#include "philox.hpp"
#include "simd_math.hpp"
#include "small_product.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

// Query rows that share one length of causal prefix.
constexpr Index strip = 8;

Index smaller(Index a, Index b) { return a < b ? a : b; }
Index round_up(Index n) { return (n + panel_floats - 1) / panel_floats * panel_floats; }

void round_row(Index n, float* x) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) x[i] = as_float(bf16_bits(x[i]));
}

// Tokens begin … end of one head, densely.
void gather(const AttentionHead& head, const float* x, Index row, Index begin, Index end,
            float* dense) {
  for (Index t = begin; t < end; ++t, dense += head.head_dim) {
    for (Index d = 0; d < head.head_dim; ++d) dense[d] = x[t * row + d];
    if (head.round_bf16) round_row(head.head_dim, dense);
  }
}

// The transpose [head_dim × time] in panels of columns, with zeros up to a whole panel.
void gather_transposed(const AttentionHead& head, const float* x, Index count, float* panels) {
  for (Index begin = 0; begin < count; begin += panel_floats) {
    for (Index j = 0; j < panel_floats; ++j) {
      const Index t = begin + j;
      for (Index d = 0; d < head.head_dim; ++d) {
        panels[d * panel_floats + j] = t < count ? x[t * head.row + d] : 0.0f;
      }
    }
    if (head.round_bf16) round_row(panel_floats * head.head_dim, panels);
    panels += panel_floats * head.head_dim;
  }
}

// Probabilities of a row from its first `valid` scores; zeros up to `width`. Gives log Σ exp.
float softmax_row(float* s, Index valid, Index width, float scale) {
  float max = -infinity;
#pragma omp simd reduction(max : max)
  for (Index j = 0; j < valid; ++j) max = s[j] > max ? s[j] : max;
  const float shift = max * scale;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index j = 0; j < valid; ++j) {
    const float e = exp_of(s[j] * scale - shift);
    s[j] = e;
    sum += e;
  }
  const float factor = 1.0f / sum;
#pragma omp simd
  for (Index j = 0; j < valid; ++j) s[j] *= factor;
  for (Index j = valid; j < width; ++j) s[j] = 0.0f;
  return shift + __builtin_logf(sum);
}

void drop_row(const AttentionHead& head, Index i, float* s) {
  const std::uint64_t first =
      head.first_element + static_cast<std::uint64_t>(i) * static_cast<std::uint64_t>(head.time);
  dropout_range(head.stream, first, i + 1, head.threshold, head.keep_scale, s, s);
}

void forward(const AttentionHead& head, Index first_block, Index stride, float* out,
             float* log_sum_exp, float* work) {
  const Index dim = head.head_dim;
  const Index score_row = attention_score_stride(head.time);
  float* const scores = work;
  float* const q = scores + attention_block * score_row;
  float* const k_panels = q + attention_block * dim;
  float* const v = k_panels + score_row * dim;

  const Index blocks = (head.time + attention_block - 1) / attention_block;
  const Index last_block = first_block + (blocks - 1 - first_block) / stride * stride;
  const Index prefix = smaller(head.time, (last_block + 1) * attention_block);
  gather_transposed(head, head.k, prefix, k_panels);
  gather(head, head.v, head.row, 0, prefix, v);

  for (Index block = first_block; block < blocks; block += stride) {
    const Index begin = block * attention_block;
    const Index end = smaller(head.time, begin + attention_block);
    gather(head, head.q, head.row, begin, end, q);
    for (Index first = begin; first < end; first += strip) {
      const Index rows = smaller(strip, end - first);
      const Index width = first + rows;
      float* const s = scores;
      small_product(rows, round_up(width), dim, {q + (first - begin) * dim, dim, 1},
                    {k_panels, panel_floats, panel_floats * dim}, s, score_row, false);
      for (Index r = 0; r < rows; ++r) {
        float* const row = s + r * score_row;
        log_sum_exp[first + r] = softmax_row(row, first + r + 1, width, head.scale);
        if (head.drop) drop_row(head, first + r, row);
        if (head.round_bf16) round_row(width, row);
      }
      small_product(rows, dim, width, {s, score_row, 1}, {v, dim}, out + first * head.out_row,
                    head.out_row, false);
    }
  }
}

// In place: scores become probabilities, products of dout and v become gradients of the scores.
void gradient_row(const AttentionHead& head, Index i, Index width, float log_sum_exp, float dot_out,
                  float* s, float* ds) {
  const Index valid = i + 1;
  if (head.drop) drop_row(head, i, ds);
#pragma omp simd
  for (Index j = 0; j < valid; ++j) {
    const float p = exp_of(s[j] * head.scale - log_sum_exp);
    s[j] = p;
    ds[j] = p * (ds[j] - dot_out) * head.scale;
  }
  for (Index j = valid; j < width; ++j) {
    s[j] = 0.0f;
    ds[j] = 0.0f;
  }
  if (head.drop) drop_row(head, i, s);
  if (head.round_bf16) {
    round_row(width, s);
    round_row(width, ds);
  }
}

void scatter(const AttentionHead& head, const float* dense, float* x) {
  for (Index t = 0; t < head.time; ++t) {
    for (Index d = 0; d < head.head_dim; ++d) x[t * head.row + d] = dense[t * head.head_dim + d];
  }
}

void backward(const AttentionHead& head, const float* out, const float* log_sum_exp,
              const float* dout, float* dq, float* dk, float* dv, float* work) {
  const Index dim = head.head_dim;
  const Index time = head.time;
  const Index score_row = attention_score_stride(time);
  const Index matrix = score_row * dim;
  float* const p = work;
  float* const ds = p + attention_block * score_row;
  float* const k_panels = ds + attention_block * score_row;
  float* const v_panels = k_panels + matrix;
  float* const q = v_panels + matrix;
  float* const k = q + matrix;
  float* const d_out = k + matrix;
  float* const dk_sum = d_out + matrix;
  float* const dv_sum = dk_sum + matrix;
  gather_transposed(head, head.k, time, k_panels);
  gather_transposed(head, head.v, time, v_panels);
  gather(head, head.q, head.row, 0, time, q);
  gather(head, head.k, head.row, 0, time, k);
  gather(head, dout, head.out_row, 0, time, d_out);
  for (Index i = 0; i < time * dim; ++i) {
    dk_sum[i] = 0.0f;
    dv_sum[i] = 0.0f;
  }

  for (Index begin = 0; begin < time; begin += attention_block) {
    const Index end = smaller(time, begin + attention_block);
    for (Index first = begin; first < end; first += strip) {
      const Index rows = smaller(strip, end - first);
      const Index width = first + rows;
      float* const p_strip = p + (first - begin) * score_row;
      float* const ds_strip = ds + (first - begin) * score_row;
      small_product(rows, round_up(width), dim, {q + first * dim, dim, 1},
                    {k_panels, panel_floats, panel_floats * dim}, p_strip, score_row, false);
      small_product(rows, round_up(width), dim, {d_out + first * dim, dim, 1},
                    {v_panels, panel_floats, panel_floats * dim}, ds_strip, score_row, false);
      for (Index r = 0; r < rows; ++r) {
        const Index i = first + r;
        // Σ_j p·dp of a row equals dout·out (Dao et al. 2022, appendix B), with dropout too.
        float dot = 0;
        const float* const o = out + i * head.out_row;
        const float* const g = dout + i * head.out_row;
#pragma omp simd reduction(+ : dot)
        for (Index d = 0; d < dim; ++d) dot += o[d] * g[d];
        gradient_row(head, i, width, log_sum_exp[i], dot, p_strip + r * score_row,
                     ds_strip + r * score_row);
      }
      small_product(rows, dim, width, {ds_strip, score_row, 1}, {k, dim}, dq + first * head.row,
                    head.row, false);
    }
    // Keys of a strip get nothing from the queries before it.
    for (Index first = 0; first < end; first += strip) {
      const Index rows = smaller(strip, end - first);
      const Index from = first > begin ? first : begin;
      const Index offset = (from - begin) * score_row + first;
      small_product(rows, dim, end - from, {p + offset, 1, score_row}, {d_out + from * dim, dim},
                    dv_sum + first * dim, dim, true);
      small_product(rows, dim, end - from, {ds + offset, 1, score_row}, {q + from * dim, dim},
                    dk_sum + first * dim, dim, true);
    }
  }
  scatter(head, dk_sum, dk);
  scatter(head, dv_sum, dv);
}

}  // namespace

extern const AttentionKernels attention_kernels = {forward, backward};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
