#include <shoal/models/gpt.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/bucketed_all_reduce.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/kernels/local/norm.hpp>
#include <shoal/kernels/parallel/cross_entropy.hpp>
#include <shoal/kernels/parallel/embedding.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/trace.hpp>

#include "gpt_block.hpp"
#include "gpt_parameters.hpp"
#include "late_embedding.hpp"
#include "parameter_gather.hpp"

namespace shoal::models {
namespace {

using trace::Category;
using trace::Span;

constexpr std::uint32_t embedding_site = 1u << 29;

GptConfig checked_config(const GptConfig& config, const Mesh& mesh) {
  check(config, mesh.axis("tp").size());
  return config;
}

}  // namespace

struct Gpt::Impl {
  Impl(const GptConfig& gpt_config, const Mesh& over, std::uint64_t seed,
       const MemorySavings& savings);

  void make_room(Index batch, Index time);
  Pass start(const TokenBatch& batch) const;
  void embed(const Pass& pass, const TokenBatch& batch, float* out);
  const float* forward_blocks(const Pass& pass, const TokenBatch& batch);
  double head(const Pass& pass, const std::int32_t* targets);
  double head_with_gradient(const Pass& pass, const std::int32_t* targets, double scale,
                            kernels::Gradients how);
  void backward_blocks(const Pass& pass, const TokenBatch& batch, kernels::Gradients how,
                       bool last);
  kernels::Gradients start_gradients();
  void finish_zeroing();

  const float* weight(Index offset) const {
    return offset < 0 ? nullptr : parameters.data() + offset;
  }
  float* gradient(Index offset) const {
    return offset < 0 ? nullptr : gradients.data() + offset;
  }
  BlockActivations& saved_of(std::size_t layer) { return saved[recompute ? 0 : layer]; }

  GptConfig config;
  const Mesh* mesh;
  bool recompute;
  bool sharded;  // the optimizer, over more than one dp rank
  ParameterLayout layout;
  Buffer<float> parameters;
  Buffer<float> gradients;
  bool gradients_are_stale = false;  // meant to be zero, but not written yet
  kernels::VocabParallelEmbedding embedding;
  kernels::VocabParallelCrossEntropy cross_entropy;
  kernels::ColumnParallelLinear output;  // its weight is the embedding's
  std::vector<GptBlock> blocks;
  // Where there is more than one dp rank: the sum of gradients, by what is done together.
  std::optional<BucketedAllReduce> dp_sum;
  std::vector<std::size_t> stage_ends;  // pieces of dp_sum up to the end of each stage
  // Where dp_sum goes on beside the backward pass: what the embedding adds to the head's gradient.
  std::optional<LateEmbedding> late_embedding;
  SumTimes sum_times;
  std::optional<ParameterGather> gather;  // where sharded
  std::vector<Block> whole;               // else all of the array is owned

  // Room for the largest batch seen.
  Index room_batch = 0;
  Index room_time = 0;
  std::vector<Buffer<float>> inputs;    // of each block
  std::vector<BlockActivations> saved;  // of each block, or of the one that is at work
  std::vector<BlockWorkspace> work;  // one, or none before the first batch
  Buffer<float> final_input, final_norm, final_mean, final_rstd;
  Buffer<float> dx, dhidden, logits;
};

Gpt::Impl::Impl(const GptConfig& gpt_config, const Mesh& over, std::uint64_t seed,
                const MemorySavings& savings)
    : config(checked_config(gpt_config, over)),
      mesh(&over),
      recompute(savings.recompute),
      sharded(savings.shard_optimizer && over.axis("dp").size() > 1),
      layout(lay_out_parameters(config, over.axis("tp").size(), over.axis("tp").rank())),
      parameters(layout.size, sharded ? Memory::node_shared : Memory::local),
      gradients(layout.size,
                over.axis("dp").size() > 1 ? Memory::node_shared : Memory::local),
      embedding(over.axis("tp"), config.vocabulary, config.width),
      cross_entropy(over.axis("tp"), config.vocabulary),
      output(over.axis("tp"), config.width, embedding.ids().size, config.precision) {
  for (Index layer = 0; layer < config.layers; ++layer) {
    blocks.emplace_back(config, over.axis("tp"), layer,
                        layout.blocks[static_cast<std::size_t>(layer)]);
  }
  initialise(config, layout, seed, parameters.span());
  if (over.axis("dp").size() > 1) {
    const bool beside = !over.axis("dp").on_one_node();
    if (beside) late_embedding.emplace(over.axis("dp"), embedding.ids(), config.width);
    std::vector<Block> pieces;
    for (const std::vector<Block>& stage : backward_stages(layout, beside)) {
      pieces.insert(pieces.end(), stage.begin(), stage.end());
      stage_ends.push_back(pieces.size());
    }
    BucketedAllReduce::Options how;
    how.scatter = sharded;
    dp_sum.emplace(over.axis("dp"), gradients.data(), layout.size, DType::f32, ReduceOp::sum,
                   pieces, how);
  }
  if (sharded) {
    gather.emplace(over.axis("dp"), parameters.data(), dp_sum->buckets(),
                   dp_sum->in_background());
  } else {
    whole.push_back({0, layout.size});
  }
}

void Gpt::Impl::make_room(Index batch, Index time) {
  if (batch <= room_batch && time <= room_time) return;
  room_batch = std::max(batch, room_batch);
  room_time = std::max(time, room_time);
  const Index rows = room_batch * room_time;
  const Index heads = blocks.front().local_heads();
  const Index mlp = blocks.front().local_mlp();
  inputs.clear();
  saved.clear();
  work.clear();
  for (Index layer = 0; layer < config.layers; ++layer) {
    inputs.emplace_back(rows * config.width);
    if (recompute && layer > 0) continue;
    saved.emplace_back(config, heads, mlp, room_batch, room_time);
  }
  work.emplace_back(config, heads, mlp, room_batch, room_time);
  final_input = Buffer<float>(rows * config.width);
  final_norm = Buffer<float>(rows * config.width);
  final_mean = Buffer<float>(rows);
  final_rstd = Buffer<float>(rows);
  dx = Buffer<float>(rows * config.width, Memory::node_shared);
  dhidden = Buffer<float>(rows * config.width, Memory::node_shared);
  logits = Buffer<float>(std::min(rows, logit_rows) * embedding.ids().size);
}

Pass Gpt::Impl::start(const TokenBatch& batch) const {
  if (batch.time < 1 || batch.time > config.block_size) {
    throw Error("gpt",
                "sequences of " + std::to_string(batch.time) + " tokens, but the block size is " +
                    std::to_string(config.block_size),
                "pass from 1 to block-size tokens");
  }
  const Index count = batch.sequences * batch.time;
  const auto outside = [&](std::int32_t id) { return id < 0 || id >= config.vocabulary; };
  for (const std::int32_t* ids : {batch.inputs, batch.targets}) {
    if (ids == nullptr) continue;
    const auto bad = std::find_if(ids, ids + count, outside);
    if (bad != ids + count) {
      throw Error("gpt", "token id " + std::to_string(*bad) + " is outside the vocabulary of " +
                             std::to_string(config.vocabulary));
    }
  }
  Pass pass;
  pass.batch = batch.sequences;
  pass.time = batch.time;
  pass.first_sequence = batch.first_sequence;
  return pass;
}

void Gpt::Impl::embed(const Pass& pass, const TokenBatch& batch, float* out) {
  const Index width = config.width;
  // Summed over tp in node-shared dx: the saved input is private.
  embedding.forward(pass.rows(), batch.inputs, weight(layout.token_embedding), dx.data());
  const Span span("embedding", Category::compute);
  const float* positions = weight(layout.position_embedding);
  for (Index sequence = 0; sequence < pass.batch; ++sequence) {
    const Index at = sequence * pass.time * width;
    kernels::add(pass.time * width, dx.data() + at, positions, out + at);
  }
  if (pass.dropout > 0) {
    kernels::dropout_forward(pass.dropout_at(embedding_site), pass.first_element(width),
                             pass.rows() * width, out, out);
  }
}

const float* Gpt::Impl::forward_blocks(const Pass& pass, const TokenBatch& batch) {
  make_room(pass.batch, pass.time);
  embed(pass, batch, inputs.front().data());
  for (std::size_t layer = 0; layer < blocks.size(); ++layer) {
    float* next = layer + 1 < blocks.size() ? inputs[layer + 1].data() : final_input.data();
    blocks[layer].forward(pass, parameters.data(), inputs[layer].data(), saved_of(layer),
                          work.front(), next);
  }
  const Span span("layer norm forward", Category::compute);
  kernels::layer_norm_forward(pass.rows(), config.width, final_input.data(),
                              weight(layout.final_gain), weight(layout.final_bias), norm_epsilon,
                              final_norm.data(), final_mean.data(), final_rstd.data());
  return final_norm.data();
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

// The first pass of a step writes the matrices' gradients, which are nearly all of them, without
// reading what is there; the rest is zeroed for it. The token embedding is tied to the head, whose
// backward comes first.
kernels::Gradients Gpt::Impl::start_gradients() {
  if (!gradients_are_stale) return kernels::Gradients::add;
  gradients_are_stale = false;
  for (const ParameterGroup& group : layout.groups) {
    if (!group.decay) std::fill_n(gradients.data() + group.begin, group.size, 0.0f);
  }
  std::fill_n(gradient(layout.position_embedding), config.block_size * config.width, 0.0f);
  // A reduce-scatter leaves the other ranks' parts undefined.
  for (const Block& gap : layout.gaps) std::fill_n(gradient(gap.begin), gap.size, 0.0f);
  return kernels::Gradients::overwrite;
}

void Gpt::Impl::finish_zeroing() {
  if (!gradients_are_stale) return;
  gradients_are_stale = false;
  std::fill_n(gradients.data(), gradients.size(), 0.0f);
}

void Gpt::Impl::backward_blocks(const Pass& pass, const TokenBatch& batch, kernels::Gradients how,
                                bool last) {
  const Index width = config.width;
  const Index count = pass.rows() * width;
  {
    const Span span("layer norm backward", Category::compute);
    std::fill_n(dx.data(), count, 0.0f);
    kernels::layer_norm_backward(pass.rows(), width, final_input.data(),
                                 weight(layout.final_gain), final_mean.data(), final_rstd.data(),
                                 dhidden.data(), dx.data(), gradient(layout.final_gain),
                                 gradient(layout.final_bias));
  }
  // What is done travels while the rest is computed.
  std::size_t stage = 0;
  std::size_t piece = 0;
  const auto stage_is_done = [&] {
    if (!last || !dp_sum) return;
    while (piece < stage_ends[stage]) dp_sum->ready(piece++);
    ++stage;
  };
  stage_is_done();
  for (std::size_t layer = blocks.size(); layer-- > 0;) {
    // What the last block's forward has kept is still there.
    if (recompute && layer + 1 < blocks.size()) {
      blocks[layer].forward(pass, parameters.data(), inputs[layer].data(), saved_of(layer),
                            work.front(), nullptr);
    }
    blocks[layer].backward(pass, parameters.data(), gradients.data(), how, inputs[layer].data(),
                           saved_of(layer), work.front(), dx.data());
    stage_is_done();
  }
  const Span span("embedding backward", Category::compute);
  if (pass.dropout > 0) {
    kernels::dropout_backward(pass.dropout_at(embedding_site), pass.first_element(width), count,
                              dx.data(), dx.data());
  }
  if (last && late_embedding) {
    late_embedding->collect(pass.rows(), batch.inputs, dx.data());
  } else {
    embedding.backward(pass.rows(), batch.inputs, dx.data(), gradient(layout.token_embedding));
  }
  float* dpositions = gradient(layout.position_embedding);
  for (Index sequence = 0; sequence < pass.batch; ++sequence) {
    kernels::add(pass.time * width, dpositions, dx.data() + sequence * pass.time * width,
                 dpositions);
  }
  stage_is_done();
}

Gpt::Gpt(const GptConfig& config, const Mesh& mesh, std::uint64_t seed,
         const MemorySavings& savings)
    : impl_(std::make_unique<Impl>(config, mesh, seed, savings)) {}
Gpt::Gpt(Gpt&&) noexcept = default;
Gpt::~Gpt() = default;

const GptConfig& Gpt::config() const noexcept { return impl_->config; }
const Mesh& Gpt::mesh() const noexcept { return *impl_->mesh; }

double Gpt::accumulate_gradients(const TokenBatch& batch, double scale, std::uint64_t seed,
                                 std::uint64_t step, bool last) {
  Pass pass = impl_->start(batch);
  if (pass.rows() == 0) return 0;
  pass.dropout = impl_->config.dropout;
  pass.seed = seed;
  pass.step = step;
  impl_->forward_blocks(pass, batch);
  const kernels::Gradients how = impl_->start_gradients();
  const double loss = impl_->head_with_gradient(pass, batch.targets, scale, how);
  impl_->backward_blocks(pass, batch, how, last);
  return loss;
}

double Gpt::loss(const TokenBatch& batch) {
  const Pass pass = impl_->start(batch);
  if (pass.rows() == 0) return 0;
  impl_->forward_blocks(pass, batch);
  return impl_->head(pass, batch.targets);
}

void Gpt::next_token_logits(const TokenBatch& batch, std::span<float> logits) {
  const GptConfig& config = impl_->config;
  const Communicator& tp = impl_->mesh->axis("tp");
  if (static_cast<Index>(logits.size()) != batch.sequences * config.vocabulary) {
    throw Error("gpt", "room for " + std::to_string(logits.size()) + " logits, " +
                           std::to_string(batch.sequences * config.vocabulary) + " needed");
  }
  const Pass pass = impl_->start(batch);
  if (pass.rows() == 0) return;
  const float* hidden = impl_->forward_blocks(pass, batch);
  std::vector<Index> counts;
  for (Rank rank = 0; rank < tp.size(); ++rank) {
    counts.push_back(block_of(config.vocabulary, tp.size(), rank).size);
  }
  for (Index sequence = 0; sequence < pass.batch; ++sequence) {
    const float* last = hidden + ((sequence + 1) * pass.time - 1) * config.width;
    float* row = logits.data() + sequence * config.vocabulary;
    float* mine = row + impl_->embedding.ids().begin;
    impl_->output.forward(1, last, impl_->weight(impl_->layout.token_embedding), nullptr, mine);
    if (tp.size() > 1) all_gather(tp, mine, row, counts, DType::f32);
  }
}

std::span<float> Gpt::parameters() noexcept { return impl_->parameters.span(); }
std::span<float> Gpt::gradients() noexcept {
  impl_->finish_zeroing();
  return impl_->gradients.span();
}

void Gpt::zero_gradients() { impl_->gradients_are_stale = true; }

void Gpt::reduce_gradients() {
  if (!impl_->dp_sum) return;
  gradients();  // zeros, if there was nothing to add
  impl_->dp_sum->finish();
  impl_->sum_times = {impl_->dp_sum->times().reducing, impl_->dp_sum->times().waited};
  if (!impl_->late_embedding) return;
  const auto start = std::chrono::steady_clock::now();
  impl_->late_embedding->add_to(impl_->gradient(impl_->layout.token_embedding));
  const Seconds late = std::chrono::steady_clock::now() - start;
  impl_->sum_times.reducing += late;
  impl_->sum_times.waited += late;
}

const Gpt::SumTimes& Gpt::gradient_sum_times() const noexcept { return impl_->sum_times; }

std::span<const Block> Gpt::owned() const noexcept {
  return impl_->gather ? impl_->gather->owned() : std::span<const Block>(impl_->whole);
}

bool Gpt::shards_optimizer() const noexcept { return impl_->gather.has_value(); }

void Gpt::updated(std::size_t range) {
  if (impl_->gather) impl_->gather->updated(range);
}

void Gpt::finish_update() {
  if (impl_->gather) impl_->gather->finish();
}

MemoryUse Gpt::memory() const noexcept {
  const Impl& m = *impl_;
  MemoryUse use;
  use.parameters = bytes_of({&m.parameters});
  use.gradients = bytes_of({&m.gradients});
  use.activations = bytes_of({&m.final_input, &m.final_norm, &m.final_mean, &m.final_rstd});
  for (const Buffer<float>& input : m.inputs) use.activations += bytes_of({&input});
  for (const BlockActivations& block : m.saved) use.activations += block.bytes();
  use.workspace = bytes_of({&m.dx, &m.dhidden, &m.logits});
  for (const BlockWorkspace& work : m.work) use.workspace += work.bytes();
  return use;
}

std::span<const Parameter> Gpt::parameter_list() const noexcept { return impl_->layout.list; }
std::span<const ParameterGroup> Gpt::groups() const noexcept { return impl_->layout.groups; }

}  // namespace shoal::models
