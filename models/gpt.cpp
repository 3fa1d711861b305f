#include <shoal/models/gpt.hpp>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/collectives/narrow.hpp>
#include <shoal/runtime/error.hpp>

#include "gpt_impl.hpp"

namespace shoal::models {
namespace {

Stage stage_on(const GptConfig& config, const Mesh& mesh) {
  check(config, mesh.axis("tp").size());
  const Communicator& pp = mesh.axis("pp");
  return divide_into_stages(config, pp.size())[static_cast<std::size_t>(pp.rank())];
}

// Micro-batches of which this rank has a share.
std::vector<TokenBatch> without_empty_ones(std::span<const TokenBatch> batches) {
  std::vector<TokenBatch> full;
  std::copy_if(batches.begin(), batches.end(), std::back_inserter(full),
               [](const TokenBatch& batch) { return batch.sequences * batch.time != 0; });
  return full;
}

}  // namespace

DType wire_type(const GptConfig& config) noexcept {
  return config.precision == kernels::Precision::bf16 ? DType::bf16 : DType::f32;
}

Gpt::Impl::Impl(const GptConfig& gpt_config, const Mesh& over, std::uint64_t seed,
                const MemorySavings& savings, const Traffic& traffic)
    : config(gpt_config),
      mesh(&over),
      stage(stage_on(config, over)),
      recompute(savings.recompute),
      sharded(savings.shard_optimizer && over.axis("dp").size() > 1),
      by_rows(savings.sequence_parallel && over.axis("tp").size() > 1),
      layout(lay_out_parameters(config, stage, over.axis("tp").size(), over.axis("tp").rank())),
      parameters(layout.size, sharded ? Memory::node_shared : Memory::local),
      gradients(layout.size, over.axis("dp").size() > 1 ? Memory::node_shared : Memory::local),
      embedding(over.axis("tp"), config.vocabulary, config.width),
      cross_entropy(over.axis("tp"), config.vocabulary),
      output(over.axis("tp"), config.width, embedding.ids().size, config.precision) {
  for (Index i = 0; i < stage.layers.size; ++i) {
    blocks.emplace_back(config, over.axis("tp"), stage.layers.begin + i,
                        layout.blocks[static_cast<std::size_t>(i)],
                        by_rows ? kernels::Activations::by_rows : kernels::Activations::whole);
  }
  if (stage.count > 1) {
    links.emplace(over, stage, embedding.ids(), config.width, wire_type(config), by_rows);
  }
  initialise(config, layout, seed, parameters.span());
  if (over.axis("dp").size() > 1) {
    const bool beside = !over.axis("dp").on_one_node();
    if (beside && stage.last()) {
      late_embedding.emplace(over.axis("dp"), embedding.ids(), config.width, traffic.gradients);
    }
    std::vector<Block> pieces;
    for (const std::vector<Block>& done : backward_stages(layout, beside)) {
      pieces.insert(pieces.end(), done.begin(), done.end());
      stage_ends.push_back(pieces.size());
    }
    BucketedAllReduce::Options how;
    how.scatter = sharded;
    how.wire = traffic.gradients;
    dp_sum.emplace(over.axis("dp"), gradients.data(), layout.size, DType::f32, ReduceOp::sum,
                   pieces, how);
  }
  if (sharded) {
    gather.emplace(over.axis("dp"), parameters.data(), dp_sum->buckets(),
                   dp_sum->in_background(), traffic.weights);
    if (traffic.weights != DType::f32) {
      masters = Buffer<float>(gather->owned_elements());
      adopt_parameters();
    }
  } else {
    whole.push_back({0, layout.size});
  }
}

// All ranks have the same numbers, and round them alike.
void Gpt::Impl::adopt_parameters() {
  if (masters.size() == 0) return;
  float* to = masters.data();
  for (const Block& range : gather->owned()) {
    to = std::copy_n(parameters.data() + range.begin, range.size, to);
  }
  narrow_in_place(parameters.data(), parameters.size());
  widen_in_place(parameters.data(), 0, parameters.size());
}

Gpt::Gpt(const GptConfig& config, const Mesh& mesh, std::uint64_t seed,
         const MemorySavings& savings, const Traffic& traffic)
    : impl_(std::make_unique<Impl>(config, mesh, seed, savings, traffic)) {}
Gpt::Gpt(Gpt&&) noexcept = default;
Gpt::~Gpt() = default;

const GptConfig& Gpt::config() const noexcept { return impl_->config; }
const Mesh& Gpt::mesh() const noexcept { return *impl_->mesh; }

const Stage& Gpt::stage() const noexcept { return impl_->stage; }

double Gpt::accumulate_gradients(const TokenBatch& batch, double scale, std::uint64_t seed,
                                 std::uint64_t step, bool last) {
  return accumulate_gradients(std::span(&batch, 1), scale, seed, step, last);
}

double Gpt::accumulate_gradients(std::span<const TokenBatch> micro_batches, double scale,
                                 std::uint64_t seed, std::uint64_t first_step, bool last) {
  const std::vector<TokenBatch> batches = without_empty_ones(micro_batches);
  if (batches.empty()) return 0;
  Impl::Round round = impl_->begin(batches, true);
  round.scale = scale;
  round.last = last;
  for (Pass& pass : round.passes) {
    pass.dropout = impl_->config.dropout;
    pass.seed = seed;
    pass.step = first_step++;
  }
  impl_->run(round);
  return round.loss;
}

double Gpt::loss(const TokenBatch& batch) { return loss(std::span(&batch, 1)); }

double Gpt::loss(std::span<const TokenBatch> batches) {
  const std::vector<TokenBatch> full = without_empty_ones(batches);
  if (full.empty()) return 0;
  Impl::Round round = impl_->begin(full, false);
  impl_->run(round);
  return round.loss;
}

void Gpt::next_token_logits(const TokenBatch& batch, std::span<float> logits) {
  Impl& m = *impl_;
  const Communicator& tp = m.mesh->axis("tp");
  if (static_cast<Index>(logits.size()) != batch.sequences * m.config.vocabulary) {
    throw Error("gpt", "room for " + std::to_string(logits.size()) + " logits, " +
                           std::to_string(batch.sequences * m.config.vocabulary) + " needed");
  }
  if (batch.sequences * batch.time == 0) return;
  Impl::Round round = m.begin(std::span(&batch, 1), false);
  m.forward(round, 0);
  m.end(round);
  std::vector<Index> counts;
  for (Rank rank = 0; rank < tp.size(); ++rank) {
    counts.push_back(block_of(m.config.vocabulary, tp.size(), rank).size);
  }
  for (Index sequence = 0; m.stage.last() && sequence < batch.sequences; ++sequence) {
    const float* last = m.final_norm.data() + ((sequence + 1) * batch.time - 1) * m.config.width;
    float* row = logits.data() + sequence * m.config.vocabulary;
    float* mine = row + m.embedding.ids().begin;
    m.output.forward(1, last, m.weight(m.layout.token_embedding), nullptr, mine);
    if (tp.size() > 1) all_gather(tp, mine, row, counts, DType::f32);
  }
  if (m.stage.count == 1) return;
  broadcast(m.mesh->axis("pp"), logits.data(), static_cast<Index>(logits.size()), DType::f32,
            m.stage.count - 1);
}

const Gpt::PipelineTimes& Gpt::pipeline_times() const noexcept { return impl_->pipeline_times; }

std::span<float> Gpt::parameters() noexcept { return impl_->parameters.span(); }
std::span<float> Gpt::masters() noexcept { return impl_->masters.span(); }
void Gpt::adopt_parameters() { impl_->adopt_parameters(); }
std::span<float> Gpt::gradients() noexcept {
  impl_->finish_zeroing();
  return impl_->gradients.span();
}

void Gpt::zero_gradients() { impl_->gradients_are_stale = true; }

void Gpt::reduce_gradients() {
  if (!impl_->dp_sum) return;
  gradients();  // zeros, if there was nothing to add
  impl_->dp_sum->finish();
  if (!impl_->late_embedding) return;
  impl_->late_embedding->add_to(impl_->gradient(impl_->layout.token_embedding));
}

std::optional<double> Gpt::summed_early() const noexcept {
  return impl_->dp_sum ? std::optional(impl_->dp_sum->early()) : std::nullopt;
}

std::span<const Block> Gpt::owned() const noexcept {
  return impl_->gather ? impl_->gather->owned() : std::span<const Block>(impl_->whole);
}

bool Gpt::shards_optimizer() const noexcept { return impl_->gather.has_value(); }

void Gpt::updated(std::size_t range) {
  if (impl_->gather) impl_->gather->updated(range, impl_->masters.data());
}

void Gpt::finish_update() {
  if (impl_->gather) impl_->gather->finish();
}

MemoryUse Gpt::memory() const noexcept {
  const Impl& m = *impl_;
  MemoryUse use;
  use.parameters = bytes_of({&m.parameters, &m.masters});
  use.gradients = bytes_of({&m.gradients});
  use.activations = bytes_of({&m.final_input, &m.final_norm, &m.final_mean, &m.final_rstd});
  for (const Buffer<float>& input : m.inputs) use.activations += bytes_of({&input});
  for (const BlockActivations& block : m.saved) use.activations += block.bytes();
  use.workspace = bytes_of({&m.dx, &m.dhidden, &m.logits, &m.final_sums});
  for (const BlockWorkspace& work : m.work) use.workspace += work.bytes();
  if (m.links) use.workspace += m.links->bytes();
  return use;
}

std::span<const Parameter> Gpt::parameter_list() const noexcept { return impl_->layout.list; }
std::span<const ParameterGroup> Gpt::groups() const noexcept { return impl_->layout.groups; }

}  // namespace shoal::models
