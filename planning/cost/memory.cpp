// Memory of a layout by kind.
//
// Training: ZeRO's kinds and what each stage divides (Rajbhandari et al. 2020); activations as in
// Korthikanti et al. 2022 (Reducing activation recomputation in large transformer models), taken
// apart so that gated MLPs, grouped keys and fused attention are counted as well; for GPT's form
// they are its s·b·h·(34 + 5·a·s/h).
#include <algorithm>
#include <cmath>

#include <shoal/models/memory.hpp>
#include <shoal/planning/estimate.hpp>

#include "cost/gpt_step.hpp"

namespace shoal::planning {
namespace {

double as_real(Index value) { return static_cast<double>(value); }

// What the trainer itself foresees for the rank that takes the most.
MemoryNeed of_this_runtime(const Model& model, const Workload& workload, const Layout& layout,
                           bool between_nodes) {
  models::TrainOptions options;
  options.model.vocabulary = model.vocabulary;
  options.model.block_size = workload.sequence;
  options.model.layers = model.layers;
  options.model.heads = model.heads;
  options.model.width = model.width;
  options.model.bias = model.bias;
  options.model.precision =
      workload.type == "fp32" ? kernels::Precision::fp32 : kernels::Precision::bf16;
  options.savings.shard_optimizer = layout.zero >= 1;
  options.savings.recompute = layout.recompute == Recompute::full;
  const bool narrow = options.savings.shard_optimizer && workload.gather_type == "bf16";
  if (narrow) options.traffic.weights = DType::bf16;
  options.batch_size = layout.micro_batch * layout.dp;
  options.grad_accum = workload.batch / options.batch_size;
  const MeshShape mesh{{{"pp", layout.pp}, {"dp", layout.dp}, {"tp", layout.tp}}};
  models::MemoryUse use;
  for (int stage = 0; stage < layout.pp; ++stage) {
    const models::MemoryUse other =
        models::predict_memory(options, mesh, 0, 0, between_nodes, stage);
    if (other.total() > use.total()) use = other;
  }
  const auto bytes = [](Bytes value) { return static_cast<double>(value); };
  MemoryNeed need;
  need.weights = bytes(use.parameters);
  need.gradients = bytes(use.gradients);
  need.optimizer = bytes(use.optimizer);
  need.activations = bytes(use.activations);
  need.workspace = bytes(use.workspace + use.staging + use.checkpoint);
  return need;
}

// Bytes of what the backward pass needs of one layer for `rows` tokens of sequences of `sequence`.
double kept_of_layer(const Model& model, const Software& software, const Layout& layout,
                     double rows, double sequence, bool expert_layer, double number) {
  const double tp = layout.tp;
  const double h = as_real(model.width);
  const double divided = layout.sequence_parallel ? tp : 1;
  if (layout.recompute == Recompute::full) return number * rows * h / divided;
  const double head = as_real(model.head_width);
  const double kv =
      model.kv_rank > 0 ? as_real(model.heads) * head : as_real(model.kv_heads) * head;
  // Inputs of norms and of both branches, and two masks of dropout.
  double bytes = rows * h * (4 * number + 2) / divided;
  bytes += number * rows * (2 * as_real(model.heads) * head + 2 * kv) / tp;
  if (!software.fused_attention && layout.recompute == Recompute::none) {
    bytes += (2 * number + 1) * as_real(model.heads) * sequence * rows / tp;
  }
  const double tensors = model.gated ? 3 : 2;
  if (expert_layer) {
    const double inner = as_real(model.expert_ffn);
    bytes += number * rows / tp * as_real(model.active_experts) * (2 * h + tensors * inner);
    bytes += number * rows / tp * as_real(model.shared_experts) * tensors * inner;
  } else {
    bytes += number * tensors * rows * as_real(model.ffn) / tp;
  }
  return bytes;
}

}  // namespace

MemoryNeed memory_need(const Model& model, const Software& software, const Workload& workload,
                       const Layout& layout, bool between_nodes) {
  const bool training = workload.kind == Workload::Kind::train;
  if (training && software.name == "shoal" && is_gpt(model) && layout.pp <= model.layers) {
    return of_this_runtime(model, workload, layout, between_nodes);
  }
  const double tp = layout.tp, pp = layout.pp;
  // The first stage, which has the embedding too, holds the most activations; layers do not always
  // divide.
  const double layers = std::ceil(as_real(model.layers) / pp);
  const double moe = as_real(model.expert_layers()) / as_real(model.layers);
  const double routed =
      model.experts > 0 ? as_real(model.experts) * model.mlp_parameters(model.expert_ffn) : 0;
  const double expert_layer = model.experts > 0 ? model.layer_parameters(true, false) - routed : 0;
  const double dense = model.layer_parameters(false, false);
  const double expert_ranks = std::max(layout.ep, layout.tp);
  double ends = model.embedding_parameters();
  if (pp == 1) ends += model.head_parameters();
  const double shared_weights = (layers * ((1 - moe) * dense + moe * expert_layer) + ends) / tp;
  const double expert_weights = layers * moe * routed / expert_ranks;
  const double weights = shared_weights + expert_weights;
  MemoryNeed need;
  if (!training) {
    const std::string& type = workload.weights.empty() ? workload.type : workload.weights;
    need.weights = weights * bytes_of_type(type);
    const double sequences = std::ceil(as_real(workload.batch) / layout.dp);
    const double number = workload.type == "fp32" ? 4 : 2;
    // Keys and values of a head are there on every rank that has one of its queries.
    const double shares = model.kv_rank > 0 ? 1 : std::min(tp, static_cast<double>(model.kv_heads));
    need.cache =
        sequences * as_real(workload.sequence) * layers * model.cache_width() * number / shares;
    const double rows = workload.kind == Workload::Kind::decode
                            ? sequences
                            : as_real(layout.micro_batch * workload.sequence);
    need.workspace =
        number * rows *
            (4 * as_real(model.width) + 2 * as_real(std::max(model.ffn, model.expert_ffn)) / tp) +
        4 * std::min(rows, sequences) * as_real(model.vocabulary) / tp;
    return need;
  }
  // Experts have as many replicas fewer as they are divided further.
  const double dp = layout.dp;
  const double expert_replicas = std::max(1.0, dp * tp / expert_ranks);
  const auto kept = [&](double bytes, bool divided) {
    return bytes * (divided ? shared_weights / dp + expert_weights / expert_replicas : weights);
  };
  need.weights = kept(software.weight_bytes, layout.zero >= 3);
  need.gradients = kept(software.gradient_bytes, layout.zero >= 2);
  need.optimizer = kept(software.optimizer_bytes, layout.zero >= 1);
  const double number = workload.type == "fp32" ? 4 : 2;
  const double rows = as_real(layout.micro_batch * workload.sequence);
  const double sequence = as_real(workload.sequence);
  const double micro_steps = as_real(workload.batch) / (dp * as_real(layout.micro_batch));
  double in_flight = std::min(micro_steps, pp);
  if (layout.interleave > 1) in_flight *= 1 + (pp - 1) / (pp * layout.interleave);
  const double layer =
      (1 - moe) * kept_of_layer(model, software, layout, rows, sequence, false, number) +
      moe * (model.experts > 0
                 ? kept_of_layer(model, software, layout, rows, sequence, true, number)
                 : 0);
  need.activations = in_flight * layers * layer;
  Layout whole = layout;
  whole.recompute = Recompute::none;
  need.workspace = kept_of_layer(model, software, whole, rows, sequence,
                                 model.dense_layers == 0 && model.experts > 0, number);
  // Logits and their gradient, where the output layer is.
  if (pp == 1) need.workspace += 6 * rows * as_real(model.vocabulary) / tp;
  return need;
}

}  // namespace shoal::planning
