// Reading prompts and generating.
//
// Generating reads every weight for each step and little else, so a step takes what that takes, the
// latencies of its collectives and of its launches (Pope et al. 2022, Efficiently scaling
// transformer inference). Stages of a pipeline work on different sequences, if there are enough: a
// token still takes the time of all of them.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "cost/tally.hpp"

namespace shoal::planning {

void estimate_inference(const Model& model, const Software& software, const Prices& prices,
                        const Workload& workload, Estimate& out, bool explain) {
  const Layout& layout = out.layout;
  const Cluster& cluster = prices.cluster();
  const bool decode = workload.kind == Workload::Kind::decode;
  const double p = layout.pp;
  const double sequences = std::ceil(static_cast<double>(workload.batch) / layout.dp);

  LayerWork work;
  work.training = false;
  work.type = workload.type;
  const std::string& stored = workload.weights.empty() ? workload.type : workload.weights;
  work.weight_bytes = bytes_of_type(stored);
  work.quantised_rate = stored == "q40" && cluster.device.peak.count("q40") > 0;
  double steps = 1;  // times that a stage works until all sequences have gone through
  if (decode) {
    work.sequences = std::ceil(sequences / p);
    work.tokens = 1;
    work.past = static_cast<double>(workload.sequence);
    steps = p;
  } else {
    work.sequences = std::min(sequences, static_cast<double>(layout.micro_batch));
    work.tokens = static_cast<double>(workload.sequence);
    steps = std::ceil(sequences / work.sequences);
  }
  const double rows = work.sequences * work.tokens;
  const double moe = expert_share(model);
  Tally layer;
  const auto add_layers = [&](bool expert_layer, double share) {
    if (share <= 0) return;
    work.expert_layer = expert_layer;
    const std::vector<LayerOp> ops = layer_ops(model, software, prices, layout, work);
    layer.add(tally(ops), share);
    if (explain) {
      explain_ops(expert_layer ? "A layer with experts, on one rank:" : "A layer, on one rank:",
                  ops, prices, out);
    }
  };
  add_layers(false, 1 - moe);
  add_layers(true, moe);
  const std::vector<LayerOp> head_list =
      head_ops(model, software, prices, layout, work, work.sequences);
  const Tally head = tally(head_list);
  if (explain) explain_ops("The logits:", head_list, prices, out);

  const double layers = static_cast<double>(model.layers);
  const double fullest = std::ceil(layers / p);
  const double last =
      layers - fullest * (p - 1) > 0 ? layers - fullest * (p - 1) : std::floor(layers / p);
  const double pace = p == 1
                          ? layers * layer.total() + head.total()
                          : std::max(fullest * layer.total(), last * layer.total() + head.total());
  Tally busy;
  busy.add(layer, steps * layers / p);
  busy.add(head, steps / p);
  std::vector<Cause> rest;
  rest.push_back({"pipeline bubble", steps * pace - busy.total() + (decode ? 0 : (p - 1) * pace)});
  if (layout.pp > 1) {
    int level = 0;
    const double number = workload.type == "fp32" ? 4 : 2;
    const double hop = prices.message(rows * static_cast<double>(model.width) * number / layout.tp,
                                      layout.dp * layout.tp, &level) +
                       software.call_seconds;
    rest.push_back(
        {cluster.levels[static_cast<std::size_t>(level)].name, hop * (decode ? p : steps + p - 1)});
  }
  set_causes(cluster, busy, rest, out);
  const double tokens =
      static_cast<double>(workload.batch) * (decode ? 1 : static_cast<double>(workload.sequence));
  out.tokens_per_second = tokens / out.seconds;
  out.done_flops = busy.flops * p * layout.tp * layout.dp;
  if (!explain) return;
  out.steps.push_back("The step:");
  out.steps.push_back(fmt::format("  {:.0f} sequences in each of {} replicas, {:.0f} at a time",
                                  sequences, layout.dp, work.sequences));
  out.steps.push_back(fmt::format("  {:.0f} layers a stage of {:.4g} ms, logits {:.4g} ms", fullest,
                                  layer.total() * 1e3, head.total() * 1e3));
  out.steps.push_back(fmt::format("  {:.0f} stages, the slowest {:.4g} ms: together {:.5g} ms", p,
                                  pace * 1e3, out.seconds * 1e3));
}

}  // namespace shoal::planning
