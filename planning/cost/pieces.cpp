#include "cost/pieces.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <shoal/models/stage.hpp>

#include "cost/gpt_step.hpp"
#include "cost/tally.hpp"

namespace shoal::planning {
namespace {

// The backward pass by the formulae: each operation so many times as long as forward.
std::vector<LayerOp> turned_back(const std::vector<LayerOp>& forward) {
  std::vector<LayerOp> all;
  for (LayerOp op : forward) {
    if (!(op.backward > 0)) continue;
    op.seconds *= op.backward;
    op.flops *= op.backward;
    all.push_back(op);
  }
  return all;
}

LayerPieces formula_layer(std::vector<LayerOp> ops, Recompute recompute) {
  LayerPieces layer;
  layer.backward = turned_back(ops);
  if (recompute == Recompute::full) layer.again = ops;
  if (recompute == Recompute::selective) {
    std::copy_if(ops.begin(), ops.end(), std::back_inserter(layer.again),
                 [](const LayerOp& op) { return op.core; });
  }
  layer.forward = std::move(ops);
  return layer;
}

}  // namespace

StepPieces step_pieces(const Model& model, const Software& software, const Prices& prices,
                       const Workload& workload, const Layout& layout, double footprint,
                       int stages) {
  if (is_measured_step(model, software, prices.cluster().device)) {
    return measured_pieces(model, prices, workload, layout, footprint, stages);
  }
  LayerWork work;
  work.sequences = static_cast<double>(layout.micro_batch);
  work.tokens = static_cast<double>(workload.sequence);
  work.type = workload.type;
  work.weight_bytes = workload.type == "fp32" ? 4 : 2;
  StepPieces pieces;
  pieces.gradients_wait = !(software.gradient_overlap > 0);
  if (expert_share(model) < 1) {
    pieces.dense =
        formula_layer(layer_ops(model, software, prices, layout, work), layout.recompute);
  }
  if (model.experts > 0) {
    work.expert_layer = true;
    pieces.expert =
        formula_layer(layer_ops(model, software, prices, layout, work), layout.recompute);
  }
  pieces.head =
      head_ops(model, software, prices, layout, work, work.sequences * work.tokens);
  const std::vector<LayerOp> back = turned_back(pieces.head);
  pieces.head.insert(pieces.head.end(), back.begin(), back.end());
  return pieces;
}

std::vector<LayerOp> update_pieces(const Model& model, const Software& software, const Prices& prices,
                                   const Workload& workload, const Layout& layout, double weights) {
  const Device& device = prices.cluster().device;
  if (is_measured_step(model, software, device)) {
    return measured_update(model, prices, workload, layout, weights);
  }
  LayerOp op;
  op.kind = LayerOp::Kind::stream;
  op.name = "optimizer";
  op.bytes = weights / (layout.zero >= 1 ? layout.dp : 1) * software.optimizer_traffic;
  op.seconds = op.bytes / (device.memory_bandwidth * device.memory_efficiency);
  std::vector<LayerOp> ops = {op};
  if (software.gradient_copies && layout.dp > 1) {
    // From ZeRO-2 on in every micro-step, or else once.
    const double times = layout.zero >= 2 ? static_cast<double>(workload.batch) /
                                                static_cast<double>(layout.dp * layout.micro_batch)
                                          : 1;
    op.name = "copies of gradients";
    op.bytes = times * weights * travelling_bytes(workload.gradient_type, software.reduced_bytes) *
               *software.gradient_copies;
    op.seconds = op.bytes / (device.memory_bandwidth * device.memory_efficiency);
    ops.push_back(op);
  }
  return ops;
}

double borrowed_bytes(const Model& model, const Workload& workload, const Layout& layout) {
  const double tokens = static_cast<double>(layout.micro_batch * workload.sequence);
  const double ids = static_cast<double>(model.vocabulary);
  const double met = ids * (1 - std::pow(1 - 1 / ids, tokens));
  constexpr double number_bytes = 4;
  return number_bytes * met / layout.tp * static_cast<double>(model.width);
}

double stage_weights(const Model& model, const Layout& layout, Index layers, bool last) {
  const double moe = expert_share(model);
  const double each = moe * model.layer_parameters(true, false) +
                      (1 - moe) * model.layer_parameters(false, false);
  double ends = last ? model.head_parameters() : 0;
  // A tied embedding is on the last stage.
  if (layout.pp == 1 || (last && model.tied)) ends += model.embedding_parameters();
  return (static_cast<double>(layers) * each + ends) / layout.tp;
}

std::vector<Index> layers_of_stages(const Model& model, const Software& software,
                                    const Workload& workload, const Layout& layout) {
  std::vector<Index> layers;
  const bool training = workload.kind == Workload::Kind::train;
  if (training && software.name == "shoal" && is_gpt(model)) {
    models::GptConfig config;
    config.layers = model.layers;
    config.width = model.width;
    config.heads = model.heads;
    config.block_size = workload.sequence;
    config.vocabulary = model.vocabulary;
    for (const models::Stage& stage : models::divide_into_stages(config, layout.pp)) {
      layers.push_back(stage.layers.size);
    }
    return layers;
  }
  const Index fullest = (model.layers + layout.pp - 1) / layout.pp;
  for (Index stage = 0; stage < layout.pp; ++stage) {
    const Index first = std::min(stage * fullest, model.layers);
    layers.push_back(std::min(first + fullest, model.layers) - first);
  }
  return layers;
}

}  // namespace shoal::planning
