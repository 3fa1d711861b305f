#include "gpt_block.hpp"

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

BlockActivations::BlockActivations(const GptConfig& config, Index local_heads, Index local_mlp,
                                   Index batch, Index time)
    : ln1(batch * time * config.width),
      ln2(batch * time * config.width),
      mean1(batch * time),
      rstd1(batch * time),
      mean2(batch * time),
      rstd2(batch * time),
      qkv(batch * time * 3 * local_heads * (config.width / config.heads)),
      attended(batch * time * local_heads * (config.width / config.heads)),
      log_sum_exp(batch * local_heads * time),
      middle(batch * time * config.width),
      before_gelu(batch * time * local_mlp),
      after_gelu(batch * time * local_mlp) {}

BlockWorkspace::BlockWorkspace(const GptConfig& config, Index local_heads, Index local_mlp,
                               Index batch, Index time)
    : branch(batch * time * config.width, Memory::node_shared),
      dropped(config.dropout > 0 ? batch * time * config.width : 0),
      dqkv(batch * time * 3 * local_heads * (config.width / config.heads)),
      dattended(batch * time * local_heads * (config.width / config.heads)),
      dmlp(batch * time * local_mlp) {}

Bytes BlockActivations::bytes() const noexcept {
  return bytes_of({&ln1, &ln2, &mean1, &rstd1, &mean2, &rstd2, &qkv, &attended, &log_sum_exp,
                   &middle, &before_gelu, &after_gelu});
}

Bytes BlockWorkspace::bytes() const noexcept {
  return bytes_of({&branch, &dropped, &dqkv, &dattended, &dmlp});
}

GptBlock::GptBlock(const GptConfig& config, const Communicator& tp, Index layer,
                   const BlockOffsets& offsets)
    : layer_(layer),
      width_(config.width),
      local_mlp_(block_of(4 * config.width, tp.size(), tp.rank()).size),
      at_(offsets),
      attention_(tp, config.width, config.heads, config.precision),
      fc_(tp, config.width, local_mlp_, config.precision),
      fc_proj_(tp, local_mlp_, config.width, config.precision) {}

void GptBlock::add_branch(const Pass& pass, Site which, const float* residual, float* branch,
                          float* output) const {
  const trace::Span span("residual", trace::Category::compute);
  const Index count = pass.rows() * width_;
  if (pass.dropout > 0) {
    kernels::dropout_forward(pass.dropout_at(site(which)), pass.first_element(width_), count,
                             branch, branch);
  }
  kernels::add(count, residual, branch, output);
}

const float* GptBlock::branch_gradient(const Pass& pass, Site which, const float* dx,
                                       BlockWorkspace& work) const {
  if (pass.dropout <= 0) return dx;
  kernels::dropout_backward(pass.dropout_at(site(which)), pass.first_element(width_),
                            pass.rows() * width_, dx, work.dropped.data());
  return work.dropped.data();
}

void GptBlock::forward(const Pass& pass, const float* parameters, const float* input,
                       BlockActivations& saved, BlockWorkspace& work, float* output) const {
  const Index rows = pass.rows();
  const auto weight = [&](Index offset) { return optional(parameters, offset); };

  {
    const trace::Span span("layer norm forward", trace::Category::compute);
    kernels::layer_norm_forward(rows, width_, input, weight(at_.ln1_gain),
                                weight(at_.ln1_bias), norm_epsilon, saved.ln1.data(),
                                saved.mean1.data(), saved.rstd1.data());
  }
  attention_.forward(pass.batch, pass.time, saved.ln1.data(),
                     {weight(at_.qkv_weight), weight(at_.qkv_bias), weight(at_.proj_weight),
                      weight(at_.proj_bias)},
                     {saved.qkv.data(), saved.attended.data(), saved.log_sum_exp.data()},
                     work.branch.data(), pass.dropout_at(site(attention_scores)),
                     static_cast<std::uint64_t>(pass.first_sequence));
  add_branch(pass, attention_branch, input, work.branch.data(), saved.middle.data());

  {
    const trace::Span span("layer norm forward", trace::Category::compute);
    kernels::layer_norm_forward(rows, width_, saved.middle.data(), weight(at_.ln2_gain),
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
  fc_proj_.forward(rows, saved.after_gelu.data(), weight(at_.fc_proj_weight),
                   weight(at_.fc_proj_bias), work.branch.data());
  add_branch(pass, mlp_branch, saved.middle.data(), work.branch.data(), output);
}

void GptBlock::backward(const Pass& pass, const float* parameters, float* gradients,
                        kernels::Gradients how, const float* input, BlockActivations& saved,
                        BlockWorkspace& work, float* dx) const {
  const Index rows = pass.rows();
  const auto weight = [&](Index offset) { return optional(parameters, offset); };
  const auto gradient = [&](Index offset) { return optional(gradients, offset); };

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
  {
    const trace::Span span("layer norm backward", trace::Category::compute);
    kernels::layer_norm_backward(rows, width_, saved.middle.data(), weight(at_.ln2_gain),
                                 saved.mean2.data(), saved.rstd2.data(), work.branch.data(), dx,
                                 gradient(at_.ln2_gain), gradient(at_.ln2_bias));
  }

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
  {
    const trace::Span span("layer norm backward", trace::Category::compute);
    kernels::layer_norm_backward(rows, width_, input, weight(at_.ln1_gain),
                                 saved.mean1.data(), saved.rstd1.data(), work.branch.data(), dx,
                                 gradient(at_.ln1_gain), gradient(at_.ln1_bias));
  }
}

}  // namespace shoal::models
