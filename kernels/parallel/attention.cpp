#include <shoal/kernels/parallel/attention.hpp>

#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/trace.hpp>

namespace shoal::kernels {
namespace {

Block local_heads_of(const Communicator& group, Index width, Index heads) {
  if (heads < 1 || width % heads != 0) {
    throw UsageError("attention",
                     std::to_string(heads) + " heads do not divide width " + std::to_string(width),
                     "choose a number of heads that does");
  }
  if (heads % group.size() != 0) {
    throw UsageError("attention",
                     std::to_string(heads) + " heads do not divide over " + group.name() + "=" +
                         std::to_string(group.size()) + " ranks",
                     "choose another mesh or number of heads");
  }
  return block_of(heads, group.size(), group.rank());
}

}  // namespace

HeadParallelAttention::HeadParallelAttention(const Communicator& group, Index width, Index heads,
                                             Precision precision, Activations activations)
    : total_heads_(heads),
      head_dim_(heads > 0 ? width / heads : 0),
      heads_(local_heads_of(group, width, heads)),
      precision_(precision),
      qkv_(group, width, 3 * heads_.size * head_dim_, precision, activations),
      proj_(group, heads_.size * head_dim_, width, precision, activations) {}

AttentionShape HeadParallelAttention::shape(Index batch, Index time,
                                            std::uint64_t first_batch) const {
  AttentionShape shape;
  shape.batch = batch;
  shape.time = time;
  shape.heads = heads_.size;
  shape.head_dim = head_dim_;
  shape.first_batch = first_batch;
  shape.first_head = static_cast<std::uint64_t>(heads_.begin);
  shape.total_heads = total_heads_;
  return shape;
}

void HeadParallelAttention::forward(Index batch, Index time, const float* x,
                                    const Weights<const float>& weights, const Saved& saved,
                                    float* y, const Dropout& dropout,
                                    std::uint64_t first_batch) const {
  const Index rows = batch * time;
  qkv_.forward(rows, x, weights.qkv_weight, weights.qkv_bias, saved.qkv);
  {
    const trace::Span span("attention forward", trace::Category::compute);
    causal_attention_forward(shape(batch, time, first_batch), saved.qkv, saved.attended,
                             saved.log_sum_exp, dropout, precision_);
  }
  proj_.forward(rows, saved.attended, weights.proj_weight, weights.proj_bias, y);
}

void HeadParallelAttention::backward(Index batch, Index time, const float* x,
                                     const Weights<const float>& weights, const Saved& saved,
                                     const float* dy, float* dx, const Weights<float>& gradients,
                                     float* dqkv, float* dattended, const Dropout& dropout,
                                     std::uint64_t first_batch, Gradients how) const {
  const Index rows = batch * time;
  proj_.backward(rows, saved.attended, weights.proj_weight, dy, dattended, gradients.proj_weight,
                 gradients.proj_bias, how);
  {
    const trace::Span span("attention backward", trace::Category::compute);
    causal_attention_backward(shape(batch, time, first_batch), saved.qkv, saved.attended,
                              saved.log_sum_exp, dattended, dqkv, dropout, precision_);
  }
  qkv_.backward(rows, x, weights.qkv_weight, dqkv, dx, gradients.qkv_weight, gradients.qkv_bias,
                how);
}

}  // namespace shoal::kernels
