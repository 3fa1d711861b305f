// A training step.
//
// Pipelines run one forward, one backward (1F1B; Narayanan et al. 2021, section 2.2): with m
// micro-steps and p stages of v chunks the slowest stage works m times, and (p − 1)/v of a stage's
// time is lost in filling and draining. Data-parallel ranks add gradients beside the backward pass
// as far as the software does so.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "cost/tally.hpp"

namespace shoal::planning {
namespace {

// Seconds in which gradients and divided weights travel, and the level they cross.
struct Replicas {
  double seconds = 0;
  int level = 0;
};

Replicas replicas_of(const Model& model, const Software& software, const Prices& prices,
                     const Layout& layout, double micro_steps) {
  Replicas out;
  const double weights = rank_parameters(model, layout);
  const double routed = routed_parameters(model, layout);
  const double layers = std::ceil(static_cast<double>(model.layers) / layout.pp);
  // What goes beside the backward pass goes layer by layer; what waits for its end, all at once.
  const double parts = software.gradient_overlap > 0 || layout.zero >= 3 ? layers : 1;
  const auto travel = [&](double count, Group group, double pieces) {
    if (group.size <= 1 || count <= 0) return 0.0;
    const auto price = [&](Operation operation, double bytes, double in) {
      int level = 0;
      const double seconds = in * prices.collective(operation, count * bytes / in, group, &level);
      out.level = std::max(out.level, level);
      return seconds + software.call_seconds;
    };
    if (layout.zero == 0) return price(Operation::all_reduce, software.reduced_bytes, pieces);
    const double gather =
        price(Operation::all_gather, software.weight_bytes, layout.zero >= 3 ? pieces : 1);
    // ZeRO-3 gathers the weights for each forward and each backward pass, and keeps none.
    const double gathers = layout.zero >= 3 ? 2 * micro_steps : 1;
    const double sums = layout.zero >= 2 ? micro_steps : 1;
    return sums * price(Operation::reduce_scatter, software.reduced_bytes, pieces) +
           gathers * gather;
  };
  const double ends = end_parameters(model, layout);
  const Group dense{layout.dp, layout.tp};
  if (parts > 1) {
    out.seconds = travel(weights - routed - ends, dense, parts) + travel(ends, dense, 1);
  } else {
    out.seconds = travel(weights - routed, dense, 1);
  }
  const int expert_ranks = std::max(layout.ep, layout.tp);
  out.seconds += travel(routed, {std::max(1, layout.dp * layout.tp / expert_ranks), expert_ranks},
                        std::max(1.0, parts * expert_share(model)));
  return out;
}

}  // namespace

void estimate_training(const Model& model, const Software& software, const Prices& prices,
                       const Workload& workload, Estimate& out, bool explain) {
  const Layout& layout = out.layout;
  const Cluster& cluster = prices.cluster();
  const Device& device = cluster.device;
  const double m =
      static_cast<double>(workload.batch) / static_cast<double>(layout.dp * layout.micro_batch);
  const double p = layout.pp, v = layout.interleave;

  LayerWork work;
  work.sequences = static_cast<double>(layout.micro_batch);
  work.tokens = static_cast<double>(workload.sequence);
  work.type = workload.type;
  work.weight_bytes = workload.type == "fp32" ? 4 : 2;
  const double rows = work.sequences * work.tokens;
  const double moe = expert_share(model);
  Passes layer;
  const auto add_layers = [&](bool expert_layer, double share) {
    if (share <= 0) return;
    work.expert_layer = expert_layer;
    const std::vector<LayerOp> ops = layer_ops(model, software, prices, layout, work);
    const Passes passes = tally(ops, layout.recompute);
    layer.forward.add(passes.forward, share);
    layer.backward.add(passes.backward, share);
    layer.again.add(passes.again, share);
    if (explain) {
      explain_ops(expert_layer ? "A layer with experts, forward, one micro-batch on one rank:"
                               : "A layer, forward, one micro-batch on one rank:",
                  ops, prices, out);
    }
  };
  add_layers(false, 1 - moe);
  add_layers(true, moe);
  const std::vector<LayerOp> head_list = head_ops(model, software, prices, layout, work, rows);
  const Passes head = tally(head_list, Recompute::none);
  if (explain) explain_ops("The output layer and the loss:", head_list, prices, out);

  Tally per_layer = layer.forward;
  per_layer.add(layer.backward, 1);
  per_layer.add(layer.again, 1);
  Tally ends = head.forward;
  ends.add(head.backward, 1);

  const double layers = static_cast<double>(model.layers);
  // The fullest stage sets the pace; the last one has the output layer as well.
  const double fullest = std::ceil(layers / p);
  const double last =
      layers - fullest * (p - 1) > 0 ? layers - fullest * (p - 1) : std::floor(layers / p);
  const double pace =
      p == 1 ? layers * per_layer.total() + ends.total()
             : std::max(fullest * per_layer.total(), last * per_layer.total() + ends.total());
  Tally busy;  // an average stage
  busy.add(per_layer, m * layers / p);
  busy.add(ends, m / p);
  const double even = busy.total() / m;

  std::vector<Cause> rest;
  const double idle = (p - 1) / v * even + m * (pace - even);
  rest.push_back({"pipeline bubble", idle});
  double hops = 0;
  if (layout.pp > 1) {
    // Each rank of tp sends its part of the rows, and they gather them (Narayanan et al.
    // 2021, 4.1).
    const double bytes = rows * static_cast<double>(model.width) * work.weight_bytes;
    int level = 0;
    const double hop = prices.message(bytes / layout.tp, layout.dp * layout.tp, &level) +
                       software.call_seconds +
                       (layout.sequence_parallel
                            ? 0
                            : prices.collective(Operation::all_gather, bytes, {layout.tp, 1}));
    hops = 2 * hop * (m * v + p - 1);
    rest.push_back({cluster.levels[static_cast<std::size_t>(level)].name, hops});
  }

  const Replicas replicas = replicas_of(model, software, prices, layout, m);
  // Beside the backward pass of the last micro-step; ZeRO-3 has all passes.
  const double backward = layers / p * (layer.backward.total() + layer.again.total());
  const double beside = layout.zero >= 3 ? m * even : backward;
  const double exposed = std::max(replicas.seconds - software.gradient_overlap * beside,
                                  (1 - software.gradient_overlap) * replicas.seconds);
  rest.push_back({cluster.levels[static_cast<std::size_t>(replicas.level)].name, exposed});

  const double weights = rank_parameters(model, layout) / (layout.zero >= 1 ? layout.dp : 1);
  const double update =
      weights * software.optimizer_traffic / (device.memory_bandwidth * device.memory_efficiency);
  rest.push_back({"optimizer", update});
  set_causes(cluster, busy, rest, out);
  out.tokens_per_second =
      static_cast<double>(workload.batch) * static_cast<double>(workload.sequence) / out.seconds;
  out.done_flops = busy.flops * p * layout.tp * layout.dp;
  if (!explain) return;
  out.steps.push_back("The step:");
  out.steps.push_back(
      fmt::format("  m = {:.0f} micro-steps of {} x {} tokens in each of {} replicas", m,
                  layout.micro_batch, workload.sequence, layout.dp));
  out.steps.push_back(fmt::format("  layer: forward {:.4g} ms, backward {:.4g} ms, again {:.4g} ms",
                                  layer.forward.total() * 1e3, layer.backward.total() * 1e3,
                                  layer.again.total() * 1e3));
  out.steps.push_back(fmt::format(
      "  stage: {:.4g} ms a micro-step on average, the slowest {:.4g} ms", even * 1e3, pace * 1e3));
  out.steps.push_back(fmt::format("  bubble: (p-1)/v x {:.4g} ms + m x {:.4g} ms = {:.4g} ms",
                                  even * 1e3, (pace - even) * 1e3, idle * 1e3));
  out.steps.push_back(fmt::format("  between stages: {:.4g} ms", hops * 1e3));
  out.steps.push_back(fmt::format("  gradients: {:.4g} ms over {} replicas, {:.4g} ms not hidden",
                                  replicas.seconds * 1e3, layout.dp, exposed * 1e3));
  out.steps.push_back(
      fmt::format("  update of {:.4g} M weights: {:.4g} ms", weights * 1e-6, update * 1e3));
  out.steps.push_back(fmt::format("  together {:.5g} ms", out.seconds * 1e3));
}

}  // namespace shoal::planning
