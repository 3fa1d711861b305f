#include "attention_rows.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

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
    const float dot = output_dot(head, gradients, i);
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

}  // namespace

extern const AttentionKernels attention_kernels = {forward, prepare, queries, keys, finish};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
