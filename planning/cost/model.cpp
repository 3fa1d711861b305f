// Parameters and FLOPs of a model.
#include <shoal/planning/estimate.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::planning {
namespace {

double real(Index value) { return static_cast<double>(value); }

}  // namespace

double Model::attention_parameters() const noexcept {
  const double h = real(width), a = real(heads), d = real(head_width);
  if (kv_rank > 0) {
    const double rope = real(rope_width), value = real(value_width);
    return h * real(q_rank) + real(q_rank) * a * (d + rope) + h * (real(kv_rank) + rope) +
           real(kv_rank) * a * (d + value) + a * value * h + real(q_rank) + real(kv_rank);
  }
  const double kv = real(kv_heads) * d;
  return h * (a * d + 2 * kv) + a * d * h + (bias ? a * d + 2 * kv + h : 0);
}

double Model::mlp_parameters(Index inner) const noexcept {
  const double h = real(width), f = real(inner);
  return (gated ? 3 : 2) * h * f + (bias ? f + h : 0);
}

double Model::layer_parameters(bool expert_layer, bool active_only) const noexcept {
  const double norms = (bias ? 4 : 2) * real(width);
  double mlp = mlp_parameters(ffn);
  if (expert_layer) {
    const Index used = (active_only ? active_experts : experts) + shared_experts;
    mlp = real(used) * mlp_parameters(expert_ffn) + real(width * experts);
  }
  return attention_parameters() + mlp + norms;
}

double Model::embedding_parameters() const noexcept {
  return real(vocabulary) * real(width) + (learned_positions ? real(context) * real(width) : 0);
}

double Model::head_parameters() const noexcept {
  return (tied ? 0 : real(vocabulary) * real(width)) + (bias ? 2 : 1) * real(width);
}

double Model::parameters() const noexcept {
  const double moe = real(expert_layers());
  return (real(layers) - moe) * layer_parameters(false, false) +
         (moe > 0 ? moe * layer_parameters(true, false) : 0) + embedding_parameters() +
         head_parameters();
}

double Model::active_parameters() const noexcept {
  const double moe = real(expert_layers());
  return (real(layers) - moe) * layer_parameters(false, true) +
         (moe > 0 ? moe * layer_parameters(true, true) : 0) + embedding_parameters() +
         head_parameters();
}

double Model::cache_width() const noexcept {
  return kv_rank > 0 ? real(kv_rank + rope_width) : 2 * real(kv_heads * head_width);
}

double model_flops(const Model& model, const Workload& workload) {
  // Weights in products: all but the embedding, and the output layer even where it is the
  // embedding.
  double weights = model.active_parameters() - model.embedding_parameters();
  if (model.tied) weights += real(model.vocabulary * model.width);
  const bool decode = workload.kind == Workload::Kind::decode;
  const double tokens = real(workload.batch) * (decode ? 1 : real(workload.sequence));
  const double key = real(model.head_width + model.rope_width);
  const double value = model.value_width > 0 ? real(model.value_width) : real(model.head_width);
  const double attention =
      2 * real(model.layers) * real(model.heads) * (key + value) * real(workload.sequence);
  const double passes = workload.kind == Workload::Kind::train ? 3 : 1;
  return passes * tokens * (2 * weights + attention);
}

void check(const Workload& workload, const Model& model) {
  if (workload.batch < 1 || workload.sequence < 1) {
    throw UsageError("plan", "the batch and the sequences need at least one token", "give more");
  }
  constexpr Index most = Index{1} << 40;
  if (workload.batch > most / workload.sequence) {
    throw UsageError("plan", "the batch has more than 2^40 tokens", "give fewer");
  }
  if (workload.sequence > model.context) {
    throw UsageError("plan",
                     model.name + " takes sequences of " + std::to_string(model.context) +
                         " tokens, not " + std::to_string(workload.sequence),
                     "choose a shorter one");
  }
  static_cast<void>(bytes_of_type(workload.type));
  if (!workload.weights.empty()) static_cast<void>(bytes_of_type(workload.weights));
}

}  // namespace shoal::planning
