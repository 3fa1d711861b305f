// Forward and backward of one micro-batch over one stage.
#include <algorithm>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/kernels/local/norm.hpp>
#include <shoal/runtime/trace.hpp>

#include "gpt_impl.hpp"

namespace shoal::models {
namespace {

using trace::Category;
using trace::Span;

constexpr std::uint32_t embedding_site = 1u << 29;

}  // namespace

// Those that this rank has between the layers.
Block Gpt::Impl::rows_of(const Pass& pass) const {
  const Communicator& tp = mesh->axis("tp");
  return by_rows ? block_of(pass.rows(), tp.size(), tp.rank()) : Block{0, pass.rows()};
}

// All rows of a [rows, width] matrix in node-shared memory, of which each tp rank has its own in place.
void Gpt::Impl::gather_rows(const Pass& pass, float* all_rows) const {
  if (!by_rows) return;
  const Communicator& tp = mesh->axis("tp");
  std::vector<Index> counts;
  for (Rank rank = 0; rank < tp.size(); ++rank) {
    counts.push_back(block_of(pass.rows(), tp.size(), rank).size * config.width);
  }
  all_gather(tp, all_rows + rows_of(pass).begin * config.width, all_rows, counts, DType::f32);
}

void Gpt::Impl::embed(const Pass& pass, const TokenBatch& batch, float* out) {
  const Index width = config.width;
  // Summed over tp in node-shared dx: the saved input is private.
  if (stage.last()) {
    embedding.forward(pass.rows(), batch.inputs, weight(layout.token_embedding), dx.data());
  } else {
    links->rows().embed(dx.data(), links->waited());
    const Communicator& tp = mesh->axis("tp");
    if (tp.size() > 1) {
      all_reduce(tp, dx.data(), dx.data(), pass.rows() * width, DType::f32, ReduceOp::sum);
    }
  }
  const Span span("embedding", Category::compute);
  const float* positions = weight(layout.position_embedding);
  const Block mine = rows_of(pass);
  for (Index row = mine.begin; row < mine.end();) {
    const Index position = row % pass.time;
    const Index count = std::min(mine.end() - row, pass.time - position);
    kernels::add(count * width, dx.data() + row * width, positions + position * width,
                 out + (row - mine.begin) * width);
    row += count;
  }
  if (pass.dropout > 0) {
    const auto first = static_cast<std::uint64_t>(mine.begin * width);
    kernels::dropout_forward(pass.dropout_at(embedding_site), pass.first_element(width) + first,
                             mine.size * width, out, out);
  }
}

// Up to what the next stage gets, or up to the final norm.
void Gpt::Impl::forward(const Round& round, std::size_t micro) {
  const Pass& pass = round.passes[micro];
  // The gradient buffer is free in a forward pass.
  float* const out = stage.last() ? final_input.data() : dx.data();
  float* const in = blocks.empty() ? out : input_of(micro, 0).data();
  if (stage.first()) {
    if (announces_rows(round, micro)) late_embedding->announce(pass.rows(), round.batches[micro].inputs);
    embed(pass, round.batches[micro], in);
  } else {
    links->receive_forward(in);
    if (stage.last()) {
      links->rows().come_to(micro, late(), gradient(layout.token_embedding), links->waited());
    }
  }
  for (std::size_t layer = 0; layer < blocks.size(); ++layer) {
    float* next = layer + 1 < blocks.size() ? input_of(micro, layer + 1).data() : out;
    blocks[layer].forward(pass, parameters.data(), input_of(micro, layer).data(),
                          saved_of(micro, layer), work.front(), next);
  }
  saved_micro = micro;
  if (stage.last()) {
    final_norm_forward(pass);
  } else {
    links->send_forward(out, pass.rows() * config.width);
  }
}

void Gpt::Impl::final_norm_forward(const Pass& pass) {
  {
    const Span span("layer norm forward", Category::compute);
    const Block mine = rows_of(pass);
    kernels::layer_norm_forward(mine.size, config.width, final_input.data(),
                                weight(layout.final_gain), weight(layout.final_bias), norm_epsilon,
                                final_norm.data() + mine.begin * config.width, final_mean.data(),
                                final_rstd.data());
  }
  gather_rows(pass, final_norm.data());
}

// From the gradient of its output, in dhidden, to that of its input, in dx.
void Gpt::Impl::final_norm_backward(const Pass& pass) {
  const Block mine = rows_of(pass);
  const float* const dy = dhidden.data() + mine.begin * config.width;
  float* const out = dx.data() + mine.begin * config.width;
  float* const dgain = gradient(layout.final_gain);
  float* const dbias = gradient(layout.final_bias);
  std::fill_n(out, mine.size * config.width, 0.0f);
  // By rows each rank has a part of the sums for gain and bias. A last stage may have no block, whose
  // room for such sums this could take.
  float* const gain_sum = by_rows ? final_sums.data() : dgain;
  float* const bias_sum = by_rows && dbias != nullptr ? gain_sum + config.width : dbias;
  std::fill_n(final_sums.data(), final_sums.size(), 0.0f);
  {
    const Span span("layer norm backward", Category::compute);
    kernels::layer_norm_backward(mine.size, config.width, final_input.data(),
                                 weight(layout.final_gain), final_mean.data(), final_rstd.data(),
                                 dy, out, gain_sum, bias_sum);
  }
  if (!by_rows) return;
  all_reduce(mesh->axis("tp"), final_sums.span(), ReduceOp::sum);
  kernels::add(config.width, dgain, gain_sum, dgain);
  if (dbias != nullptr) kernels::add(config.width, dbias, bias_sum, dbias);
}

double Gpt::Impl::head(const Pass& pass, const std::int32_t* targets) {
  double loss = 0;
  for (Index begin = 0; begin < pass.rows(); begin += logit_rows) {
    const Index rows = std::min(logit_rows, pass.rows() - begin);
    output.forward(rows, final_norm.data() + begin * config.width, weight(layout.token_embedding),
                   nullptr, logits.data());
    const Span span("cross-entropy forward", Category::compute);
    loss += cross_entropy.forward(rows, logits.data(), targets + begin);
  }
  return loss;
}

// Part by part, forward and backward, so that the logits of all rows never exist at once.
double Gpt::Impl::head_with_gradient(const Pass& pass, const std::int32_t* targets, double scale,
                                     kernels::Gradients how) {
  double loss = 0;
  for (Index begin = 0; begin < pass.rows(); begin += logit_rows) {
    const Index rows = std::min(logit_rows, pass.rows() - begin);
    const Index at = begin * config.width;
    const float* hidden = final_norm.data() + at;
    output.forward(rows, hidden, weight(layout.token_embedding), nullptr, logits.data());
    {
      const Span span("cross-entropy forward", Category::compute);
      loss += cross_entropy.forward(rows, logits.data(), targets + begin);
    }
    {
      const Span span("cross-entropy backward", Category::compute);
      cross_entropy.backward(rows, logits.data(), targets + begin, scale);
    }
    output.backward(rows, hidden, weight(layout.token_embedding), logits.data(),
                    dhidden.data() + at, gradient(layout.token_embedding), nullptr,
                    begin == 0 ? how : kernels::Gradients::add);
  }
  return loss;
}

void Gpt::Impl::backward(const Round& round, std::size_t micro, kernels::Gradients how) {
  const Pass& pass = round.passes[micro];
  const Index count = pass.rows() * config.width;
  float* const my_dx = dx.data() + rows_of(pass).begin * config.width;
  if (stage.last()) {
    final_norm_backward(pass);
  } else {
    links->receive_backward(my_dx);
  }
  // What is done travels while the rest is computed.
  const bool last = is_last(round, micro);
  std::size_t done = 0;
  std::size_t piece = 0;
  const auto stage_is_done = [&] {
    if (!last || !dp_sum) return;
    while (piece < stage_ends[done]) dp_sum->ready(piece++);
    ++done;
  };
  stage_is_done();
  if (announces_rows(round, micro)) late_embedding->announce_further();
  for (std::size_t layer = blocks.size(); layer-- > 0;) {
    // What the last block's forward has kept may still be there.
    if (recompute && (layer + 1 < blocks.size() || saved_micro != micro)) {
      blocks[layer].forward(pass, parameters.data(), input_of(micro, layer).data(),
                            saved_of(micro, layer), work.front(), nullptr);
    }
    blocks[layer].backward(pass, parameters.data(), gradients.data(), how,
                           input_of(micro, layer).data(), saved_of(micro, layer), work.front(),
                           my_dx, stage_is_done);
    stage_is_done();
  }
  saved_micro.reset();
  if (stage.first()) {
    embedding_backward(round, micro);
  } else {
    links->send_backward(my_dx, count);
  }
  stage_is_done();
  if (announces_rows(round, micro)) late_embedding->send();
}

// From the gradient of the embeddings, in dx.
void Gpt::Impl::embedding_backward(const Round& round, std::size_t micro) {
  const Pass& pass = round.passes[micro];
  const TokenBatch& batch = round.batches[micro];
  const Index width = config.width;
  gather_rows(pass, dx.data());
  const Span span("embedding backward", Category::compute);
  if (pass.dropout > 0) {
    kernels::dropout_backward(pass.dropout_at(embedding_site), pass.first_element(width),
                              pass.rows() * width, dx.data(), dx.data());
  }
  if (!stage.last()) {
    links->rows().give_back(micro, dx.data());
  } else if (announces_rows(round, micro)) {
    late_embedding->collect(pass.rows(), batch.inputs, dx.data());
  } else {
    embedding.backward(pass.rows(), batch.inputs, dx.data(), gradient(layout.token_embedding));
  }
  float* dpositions = gradient(layout.position_embedding);
  for (Index sequence = 0; sequence < pass.batch; ++sequence) {
    kernels::add(pass.time * width, dpositions, dx.data() + sequence * pass.time * width,
                 dpositions);
  }
}

}  // namespace shoal::models
