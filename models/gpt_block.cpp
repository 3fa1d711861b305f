#include "gpt_block.hpp"

#include <algorithm>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/kernels/local/dropout.hpp>
#include <shoal/kernels/local/norm.hpp>
#include <shoal/runtime/trace.hpp>

namespace shoal::models {
namespace {

const float* optional(const float* parameters, Index offset) {
  return offset < 0 ? nullptr : parameters + offset;
}
float* optional(float* gradients, Index offset) {
  return offset < 0 ? nullptr : gradients + offset;
}

}  // namespace

Bytes bytes_of(std::initializer_list<const Buffer<float>*> buffers) noexcept {
  Bytes bytes = 0;
  for (const Buffer<float>* buffer : buffers) {
    bytes += static_cast<Bytes>(buffer->size()) * sizeof(float);
  }
  return bytes;
}

namespace {

// Where rows are divided, what a product takes by rows is read by the other ranks as it lies.
Memory memory_by_rows(const BlockExtents& e) {
  return e.by_rows ? Memory::node_shared : Memory::local;
}

}  // namespace

BlockActivations::BlockActivations(const BlockExtents& e)
    : ln1(e.rows * e.width, memory_by_rows(e)),
      ln2(e.rows * e.width, memory_by_rows(e)),
      mean1(e.rows),
      rstd1(e.rows),
      mean2(e.rows),
      rstd2(e.rows),
      qkv(e.batch * e.time * 3 * e.local_heads * e.head_dim),
      attended(e.batch * e.time * e.local_heads * e.head_dim),
      log_sum_exp(e.batch * e.local_heads * e.time),
      middle(e.rows * e.width),
      before_gelu(e.batch * e.time * e.local_mlp),
      after_gelu(e.batch * e.time * e.local_mlp) {}

// A rank without rows has an address all the same: null would say that nobody wants a gradient.
BlockWorkspace::BlockWorkspace(const BlockExtents& e, bool dropout)
    : branch(std::max<Index>(1, e.rows) * e.width, Memory::node_shared),
      dropped(dropout ? e.rows * e.width : 0, memory_by_rows(e)),
      norm_sums(e.by_rows ? 4 * e.width : 0, Memory::node_shared),
      dqkv(e.batch * e.time * 3 * e.local_heads * e.head_dim),
      dattended(e.batch * e.time * e.local_heads * e.head_dim),
      dmlp(e.batch * e.time * e.local_mlp) {}

Bytes BlockActivations::bytes() const noexcept {
  return bytes_of({&ln1, &ln2, &mean1, &rstd1, &mean2, &rstd2, &qkv, &attended, &log_sum_exp,
                   &middle, &before_gelu, &after_gelu});
}

Bytes BlockWorkspace::bytes() const noexcept {
  return bytes_of({&branch, &dropped, &norm_sums, &dqkv, &dattended, &dmlp});
}

GptBlock::GptBlock(const GptConfig& config, const Communicator& tp, Index layer,
                   const BlockOffsets& offsets, kernels::Activations activations)
    : tp_(&tp),
      by_rows_(activations == kernels::Activations::by_rows && tp.size() > 1),
      layer_(layer),
      width_(config.width),
      local_mlp_(block_of(4 * config.width, tp.size(), tp.rank()).size),
      at_(offsets),
      attention_(tp, config.width, config.heads, config.precision, activations),
      fc_(tp, config.width, local_mlp_, config.precision, activations),
      fc_proj_(tp, local_mlp_, config.width, config.precision, activations) {}

BlockExtents GptBlock::extents(Index batch, Index time) const {
  return {batch,
          time,
          rows_of(batch * time).size,
          width_,
          attention_.local_heads(),
          attention_.head_dim(),
          local_mlp_,
          by_rows_};
}

Block GptBlock::rows_of(Index rows) const {
  return by_rows_ ? block_of(rows, tp_->size(), tp_->rank()) : Block{0, rows};
}

std::uint64_t GptBlock::first_element(const Pass& pass) const {
  return pass.first_element(width_) + static_cast<std::uint64_t>(rows_of(pass).begin * width_);
}

// The branch's last product comes without its bias, which is added on the way.
void GptBlock::add_branch(const Pass& pass, Site which, const float* residual, float* branch,
                          const float* bias, float* output) const {
  const trace::Span span("residual", trace::Category::compute);
  const Index rows = rows_of(pass).size;
  if (pass.dropout > 0) {
    if (bias != nullptr) kernels::add_bias(rows, width_, branch, bias);
    bias = nullptr;
    kernels::dropout_forward(pass.dropout_at(site(which)), first_element(pass), rows * width_,
                             branch, branch);
  }
  kernels::bias_residual(rows, width_, residual, branch, bias, output);
}

const float* GptBlock::branch_gradient(const Pass& pass, Site which, const float* dx,
                                       BlockWorkspace& work) const {
  if (pass.dropout <= 0) return dx;
  kernels::dropout_backward(pass.dropout_at(site(which)), first_element(pass),
                            rows_of(pass).size * width_, dx, work.dropped.data());
  return work.dropped.data();
}

void GptBlock::norm_backward(const Pass& pass, const float* x, const float* gain,
                             const float* mean, const float* rstd, const float* dy, float* dx,
                             float* dgain, float* dbias, BlockWorkspace& work, Index which) const {
  const trace::Span span("layer norm backward", trace::Category::compute);
  if (by_rows_) {
    float* const sums = work.norm_sums.data() + 2 * which * width_;
    std::fill_n(sums, 2 * width_, 0.0f);
    dgain = sums;
    if (dbias != nullptr) dbias = sums + width_;
  }
  kernels::layer_norm_backward(rows_of(pass).size, width_, x, gain, mean, rstd, dy, dx, dgain,
                               dbias);
}

void GptBlock::add_norm_sums(BlockWorkspace& work, std::initializer_list<float*> gradients) const {
  const Index count = static_cast<Index>(gradients.size()) * width_;
  all_reduce(*tp_, work.norm_sums.span().first(static_cast<std::size_t>(count)), ReduceOp::sum);
  const float* sum = work.norm_sums.data();
  for (float* const gradient : gradients) {
    if (gradient != nullptr) kernels::add(width_, gradient, sum, gradient);
    sum += width_;
  }
}

void GptBlock::forward(const Pass& pass, const float* parameters, const float* input,
                       BlockActivations& saved, BlockWorkspace& work, float* output) const {
  const Index rows = pass.rows();
  const Index mine = rows_of(pass).size;
  const auto weight = [&](Index offset) { return optional(parameters, offset); };

  {
    const trace::Span span("layer norm forward", trace::Category::compute);
    kernels::layer_norm_forward(mine, width_, input, weight(at_.ln1_gain),
                                weight(at_.ln1_bias), norm_epsilon, saved.ln1.data(),
                                saved.mean1.data(), saved.rstd1.data());
  }
  attention_.forward(pass.batch, pass.time, saved.ln1.data(),
                     {weight(at_.qkv_weight), weight(at_.qkv_bias), weight(at_.proj_weight),
                      nullptr},
                     {saved.qkv.data(), saved.attended.data(), saved.log_sum_exp.data()},
                     work.branch.data(), pass.dropout_at(site(attention_scores)),
                     static_cast<std::uint64_t>(pass.first_sequence));
  add_branch(pass, attention_branch, input, work.branch.data(), weight(at_.proj_bias),
             saved.middle.data());

  {
    const trace::Span span("layer norm forward", trace::Category::compute);
    kernels::layer_norm_forward(mine, width_, saved.middle.data(), weight(at_.ln2_gain),
                                weight(at_.ln2_bias), norm_epsilon, saved.ln2.data(),
                                saved.mean2.data(), saved.rstd2.data());
  }
  fc_.forward(rows, saved.ln2.data(), weight(at_.fc_weight), nullptr, saved.before_gelu.data());
  {
    const trace::Span span("gelu forward", trace::Category::compute);
    kernels::bias_gelu_forward(rows, local_mlp_, saved.before_gelu.data(), weight(at_.fc_bias),
                               saved.after_gelu.data());
  }
  if (output == nullptr) return;
  fc_proj_.forward(rows, saved.after_gelu.data(), weight(at_.fc_proj_weight), nullptr,
                   work.branch.data());
  add_branch(pass, mlp_branch, saved.middle.data(), work.branch.data(), weight(at_.fc_proj_bias),
             output);
}

void GptBlock::backward(const Pass& pass, const float* parameters, float* gradients,
                        kernels::Gradients how, const float* input, BlockActivations& saved,
                        BlockWorkspace& work, float* dx,
                        const std::function<void()>& products_of_mlp_done) const {
  const Index rows = pass.rows();
  const auto weight = [&](Index offset) { return optional(parameters, offset); };
  const auto gradient = [&](Index offset) { return optional(gradients, offset); };
  const auto norm = [&](const float* x, Index gain, Index bias, Index which,
                        const Buffer<float>& mean, const Buffer<float>& rstd) {
    norm_backward(pass, x, weight(gain), mean.data(), rstd.data(), work.branch.data(), dx,
                  gradient(gain), gradient(bias), work, which);
  };

  // MLP: work.branch takes the gradient of ln2, summed over tp.
  fc_proj_.backward(rows, saved.after_gelu.data(), weight(at_.fc_proj_weight),
                    branch_gradient(pass, mlp_branch, dx, work), work.dmlp.data(),
                    gradient(at_.fc_proj_weight), gradient(at_.fc_proj_bias), how);
  {
    const trace::Span span("gelu backward", trace::Category::compute);
    kernels::gelu_backward(rows * local_mlp_, saved.before_gelu.data(), work.dmlp.data(),
                           work.dmlp.data());
  }
  fc_.backward(rows, saved.ln2.data(), weight(at_.fc_weight), work.dmlp.data(),
               work.branch.data(), gradient(at_.fc_weight), gradient(at_.fc_bias), how);
  if (products_of_mlp_done) products_of_mlp_done();
  norm(saved.middle.data(), at_.ln2_gain, at_.ln2_bias, 1, saved.mean2, saved.rstd2);

  // Attention, likewise.
  attention_.backward(pass.batch, pass.time, saved.ln1.data(),
                      {weight(at_.qkv_weight), weight(at_.qkv_bias), weight(at_.proj_weight),
                       weight(at_.proj_bias)},
                      {saved.qkv.data(), saved.attended.data(), saved.log_sum_exp.data()},
                      branch_gradient(pass, attention_branch, dx, work), work.branch.data(),
                      {gradient(at_.qkv_weight), gradient(at_.qkv_bias), gradient(at_.proj_weight),
                       gradient(at_.proj_bias)},
                      work.dqkv.data(), work.dattended.data(),
                      pass.dropout_at(site(attention_scores)),
                      static_cast<std::uint64_t>(pass.first_sequence), how);
  norm(input, at_.ln1_gain, at_.ln1_bias, 0, saved.mean1, saved.rstd1);
  if (!by_rows_) return;
  add_norm_sums(work, {gradient(at_.ln1_gain), gradient(at_.ln1_bias), gradient(at_.ln2_gain),
                       gradient(at_.ln2_bias)});
}

}  // namespace shoal::models
