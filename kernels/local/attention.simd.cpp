#include "attention_kernels.hpp"
#include "philox.hpp"
#include "simd_math.hpp"
#include "small_product.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

// Query rows that share one length of causal prefix.
constexpr Index strip = attention_strip;

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

// The transpose [head_dim × time] of tokens first … end in panels of columns, with zeros up to a whole
// panel.
void gather_transposed(const AttentionHead& head, const float* x, Index first, Index end,
                       float* panels) {
  for (Index begin = first; begin < end; begin += panel_floats) {
    for (Index j = 0; j < panel_floats; ++j) {
      const Index t = begin + j;
      for (Index d = 0; d < head.head_dim; ++d) {
        panels[d * panel_floats + j] = t < end ? x[t * head.row + d] : 0.0f;
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
  gather_transposed(head, head.k, 0, prefix, k_panels);
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

void scatter(const AttentionHead& head, Index begin, Index end, const float* dense, float* x) {
  for (Index t = begin; t < end; ++t) {
    for (Index d = 0; d < head.head_dim; ++d) x[t * head.row + d] = dense[t * head.head_dim + d];
  }
}

// Where things lie in the working memory of the backward pass.
struct BackwardRoom {
  BackwardRoom(const AttentionHead& head, Index blocks, float* work)
      : score_row(attention_score_stride(head.time)), p(work) {
    const Index scores = blocks * attention_block * score_row;
    const Index matrix = score_row * head.head_dim;
    ds = p + scores;
    k_panels = ds + scores;
    v_panels = k_panels + matrix;
    q = v_panels + matrix;
    k = q + matrix;
    d_out = k + matrix;
    dk_sum = d_out + matrix;
    dv_sum = dk_sum + matrix;
  }
  Index score_row;
  float *p, *ds;              // of the blocks at work
  float *k_panels, *v_panels; // transposed
  float *q, *k, *d_out;       // densely
  float *dk_sum, *dv_sum;
};

void prepare(const AttentionHead& head, const AttentionGradients& gradients, Index begin, Index end,
             Index blocks, float* work) {
  const BackwardRoom room(head, blocks, work);
  const Index dim = head.head_dim;
  gather_transposed(head, head.k, begin, end, room.k_panels + begin * dim);
  gather_transposed(head, head.v, begin, end, room.v_panels + begin * dim);
  gather(head, head.q, head.row, begin, end, room.q + begin * dim);
  gather(head, head.k, head.row, begin, end, room.k + begin * dim);
  gather(head, gradients.dout, head.out_row, begin, end, room.d_out + begin * dim);
  for (Index i = begin * dim; i < end * dim; ++i) {
    room.dk_sum[i] = 0.0f;
    room.dv_sum[i] = 0.0f;
  }
}

void queries(const AttentionHead& head, const AttentionGradients& gradients, Index first,
             Index begin, Index blocks, float* work) {
  const BackwardRoom room(head, blocks, work);
  const Index dim = head.head_dim;
  const Index score_row = room.score_row;
  const Index rows = smaller(strip, head.time - first);
  const Index width = first + rows;
  float* const p_strip = room.p + (first - begin) * score_row;
  float* const ds_strip = room.ds + (first - begin) * score_row;
  small_product(rows, round_up(width), dim, {room.q + first * dim, dim, 1},
                {room.k_panels, panel_floats, panel_floats * dim}, p_strip, score_row, false);
  small_product(rows, round_up(width), dim, {room.d_out + first * dim, dim, 1},
                {room.v_panels, panel_floats, panel_floats * dim}, ds_strip, score_row, false);
  for (Index r = 0; r < rows; ++r) {
    const Index i = first + r;
    // Σ_j p·dp of a row equals dout·out (Dao et al. 2022, appendix B), with dropout too.
    float dot = 0;
    const float* const o = gradients.out + i * head.out_row;
    const float* const g = gradients.dout + i * head.out_row;
#pragma omp simd reduction(+ : dot)
    for (Index d = 0; d < dim; ++d) dot += o[d] * g[d];
    gradient_row(head, i, width, gradients.log_sum_exp[i], dot, p_strip + r * score_row,
                 ds_strip + r * score_row);
  }
  small_product(rows, dim, width, {ds_strip, score_row, 1}, {room.k, dim},
                gradients.dq + first * head.row, head.row, false);
}

void keys(const AttentionHead& head, Index first, Index begin, Index end, Index blocks,
          float* work) {
  const BackwardRoom room(head, blocks, work);
  const Index dim = head.head_dim;
  for (Index block = begin; block < end; block += attention_block) {
    const Index block_end = smaller(end, block + attention_block);
    if (first >= block_end) continue;
    const Index rows = smaller(strip, block_end - first);
    // Keys of a strip get nothing from the queries before it.
    const Index from = first > block ? first : block;
    const Index offset = (from - begin) * room.score_row + first;
    small_product(rows, dim, block_end - from, {room.p + offset, 1, room.score_row},
                  {room.d_out + from * dim, dim}, room.dv_sum + first * dim, dim, true);
    small_product(rows, dim, block_end - from, {room.ds + offset, 1, room.score_row},
                  {room.q + from * dim, dim}, room.dk_sum + first * dim, dim, true);
  }
}

void finish(const AttentionHead& head, const AttentionGradients& gradients, Index begin, Index end,
            Index blocks, float* work) {
  const BackwardRoom room(head, blocks, work);
  scatter(head, begin, end, room.dk_sum, gradients.dk);
  scatter(head, begin, end, room.dv_sum, gradients.dv);
}

void backward(const AttentionHead& head, const AttentionGradients& gradients, float* work) {
  prepare(head, gradients, 0, head.time, 1, work);
  for (Index begin = 0; begin < head.time; begin += attention_block) {
    const Index end = smaller(head.time, begin + attention_block);
    for (Index first = begin; first < end; first += strip) {
      queries(head, gradients, first, begin, 1, work);
    }
    for (Index first = 0; first < end; first += strip) keys(head, first, begin, end, 1, work);
  }
  finish(head, gradients, 0, head.time, 1, work);
}

}  // namespace

extern const AttentionKernels attention_kernels = {forward, backward, prepare,
                                                    queries, keys,     finish};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
