#include <shoal/models/transformer_block.hpp>

#include <algorithm>
#include <vector>

#include <shoal/models/stage.hpp>
#include <shoal/runtime/buffer.hpp>

#include "gpt_block.hpp"
#include "gpt_parameters.hpp"

namespace shoal::models {
namespace {

// A GPT of one block, and as little as can be around it.
GptConfig config_of_one_block(GptConfig config, const Communicator& group) {
  config.layers = 1;
  config.vocabulary = group.size();
  config.block_size = 1;
  check(config, group.size());
  return config;
}

}  // namespace

struct TransformerBlock::Impl {
  Impl(const GptConfig& one_block, const Communicator& group, Index batch, Index time,
       std::uint64_t seed, kernels::Activations activations)
      : config(one_block),
        layout(lay_out_parameters(config, divide_into_stages(config, 1).front(), group.size(),
                                  group.rank())),
        parameters(layout.size),
        gradients(layout.size),
        block(config, group, 0, layout.blocks.front(), activations),
        saved(block.extents(batch, time)),
        work(block.extents(batch, time), config.dropout > 0) {
    pass.batch = batch;
    pass.time = time;
    pass.dropout = config.dropout;
    pass.seed = seed;
    initialise(config, layout, seed, parameters.span());
    for (const Parameter& parameter : layout.list) {
      if (parameter.name.starts_with("transformer.h.")) list.push_back(parameter);
    }
  }

  GptConfig config;
  ParameterLayout layout;
  std::vector<Parameter> list;  // of the block
  Buffer<float> parameters, gradients;
  GptBlock block;
  Pass pass;
  BlockActivations saved;
  BlockWorkspace work;
  const float* input = nullptr;
};

TransformerBlock::TransformerBlock(const GptConfig& config, const Communicator& group, Index batch,
                                   Index time, std::uint64_t seed,
                                   kernels::Activations activations)
    : impl_(std::make_unique<Impl>(config_of_one_block(config, group), group, batch, time, seed,
                                   activations)) {}
TransformerBlock::TransformerBlock(TransformerBlock&&) noexcept = default;
TransformerBlock::~TransformerBlock() = default;

Block TransformerBlock::rows() const noexcept { return impl_->block.rows_of(impl_->pass); }

void TransformerBlock::forward(const float* input, float* output) {
  Impl& m = *impl_;
  m.input = input;
  m.block.forward(m.pass, m.parameters.data(), input, m.saved, m.work, output);
}

void TransformerBlock::backward(float* gradient) {
  Impl& m = *impl_;
  for (const ParameterGroup& group : m.layout.groups) {
    if (!group.decay) std::fill_n(m.gradients.data() + group.begin, group.size, 0.0f);
  }
  m.block.backward(m.pass, m.parameters.data(), m.gradients.data(), kernels::Gradients::overwrite,
                   m.input, m.saved, m.work, gradient);
}

std::span<float> TransformerBlock::parameters() noexcept { return impl_->parameters.span(); }
std::span<float> TransformerBlock::gradients() noexcept { return impl_->gradients.span(); }
std::span<const Parameter> TransformerBlock::parameter_list() const noexcept {
  return impl_->list;
}

}  // namespace shoal::models
