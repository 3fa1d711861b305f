// One layout of one workload: whether it can be, its memory, its time.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <shoal/planning/estimate.hpp>
#include <shoal/runtime/error.hpp>

#include "cost/tally.hpp"

namespace shoal::planning {
namespace {

std::string why_no_layout(const Model& model, const Software& software, const Cluster& cluster,
                          const Workload& workload, const Layout& layout) {
  const bool training = workload.kind == Workload::Kind::train;
  if (layout.dp < 1 || layout.tp < 1 || layout.pp < 1 || layout.ep < 1 || layout.micro_batch < 1 ||
      layout.interleave < 1 || layout.zero < 0 || layout.zero > 3) {
    return "an extent is below 1, or zero is not 0 to 3";
  }
  const double ranks = static_cast<double>(layout.dp) * layout.tp * layout.pp;
  if (ranks > cluster.devices()) {
    return fmt::format("it needs {:.0f} devices of {}", ranks, cluster.devices());
  }
  if (model.heads % layout.tp != 0) {
    return fmt::format("tp {} does not divide {} heads", layout.tp, model.heads);
  }
  if (layout.pp > model.layers) {
    return fmt::format("{} stages for {} layers", layout.pp, model.layers);
  }
  if (layout.pp > 1 && !software.pipeline) return software.name + " has no pipelines";
  if (layout.interleave > 1) {
    if (!software.interleave || layout.pp == 1 || !training) return "nothing to interleave";
    if (model.layers % (static_cast<Index>(layout.pp) * layout.interleave) != 0) {
      return "layers do not divide into so many chunks";
    }
  }
  if (layout.sequence_parallel && !software.sequence_parallel) {
    return software.name + " has no sequence parallelism";
  }
  if (layout.recompute == Recompute::selective && !software.selective_recompute) {
    return software.name + " does not recompute selectively";
  }
  if (layout.zero > software.most_zero) {
    return fmt::format("{} has ZeRO up to {}", software.name, software.most_zero);
  }
  if (layout.ep > 1) {
    if (model.experts == 0) return "the model has no experts";
    if (!software.expert_parallel) return software.name + " does not divide experts";
    if (model.experts % layout.ep != 0 || (layout.dp * layout.tp) % layout.ep != 0 ||
        (layout.ep % layout.tp != 0 && layout.tp % layout.ep != 0)) {
      return fmt::format("ep {} does not divide the experts, or the ranks of a stage", layout.ep);
    }
  }
  if (training) {
    if (software.exchange == Software::Exchange::star) return software.name + " does not train";
    if (workload.batch % (layout.dp * layout.micro_batch) != 0) {
      return fmt::format("{} sequences do not divide into {} replicas by {}", workload.batch,
                         layout.dp, layout.micro_batch);
    }
    const Index steps = workload.batch / (layout.dp * layout.micro_batch);
    if (layout.interleave > 1 && steps % layout.pp != 0) {
      return "interleaving needs micro-batches in multiples of the stages";
    }
  } else {
    if (layout.dp > workload.batch) return "more replicas than sequences";
    if (software.exchange == Software::Exchange::star) {
      if (layout.dp > 1) return software.name + " has one replica";
      if ((layout.tp & (layout.tp - 1)) != 0 || layout.tp > model.kv_heads) {
        return software.name + " takes powers of two, no more than heads of keys and values";
      }
    }
  }
  return {};
}

double all_experts_of_a_layer(const Model& model) {
  return static_cast<double>(model.experts) * model.mlp_parameters(model.expert_ffn);
}

std::string kind_text(LayerOp::Kind kind) {
  switch (kind) {
    case LayerOp::Kind::product:
      return "product";
    case LayerOp::Kind::stream:
      return "memory";
    case LayerOp::Kind::exchange:
      return "network";
  }
  return "";
}

}  // namespace

std::string Layout::text() const {
  std::string text = fmt::format("dp={},tp={}", dp, tp);
  if (pp > 1) text += fmt::format(",pp={}", pp);
  if (ep > 1) text += fmt::format(",ep={}", ep);
  text += fmt::format(" micro={}", micro_batch);
  if (interleave > 1) text += fmt::format(" chunks={}", interleave);
  if (zero > 0) text += fmt::format(" zero={}", zero);
  if (recompute == Recompute::selective) text += " recompute=selective";
  if (recompute == Recompute::full) text += " recompute=full";
  if (sequence_parallel) text += " sp";
  return text;
}

Tally tally(const std::vector<LayerOp>& ops) {
  Tally sum;
  for (const LayerOp& op : ops) {
    if (op.kind == LayerOp::Kind::product) sum.products += op.seconds;
    if (op.kind == LayerOp::Kind::stream) sum.streams += op.seconds;
    if (op.kind == LayerOp::Kind::exchange) {
      sum.exchange[static_cast<std::size_t>(op.level)] += op.seconds;
    }
    sum.flops += op.flops;
  }
  return sum;
}

double expert_share(const Model& model) {
  return static_cast<double>(model.expert_layers()) / static_cast<double>(model.layers);
}

double rank_parameters(const Model& model, const Layout& layout) {
  const double moe = expert_share(model);
  const double layers = std::ceil(static_cast<double>(model.layers) / layout.pp);
  double shared = (1 - moe) * model.layer_parameters(false, false);
  if (model.experts > 0) {
    shared += moe * (model.layer_parameters(true, false) - all_experts_of_a_layer(model));
  }
  return layers * shared / layout.tp + end_parameters(model, layout) +
         routed_parameters(model, layout);
}

double routed_parameters(const Model& model, const Layout& layout) {
  if (model.experts == 0) return 0;
  return std::ceil(static_cast<double>(model.layers) / layout.pp) * expert_share(model) *
         all_experts_of_a_layer(model) / std::max(layout.ep, layout.tp);
}

double end_parameters(const Model& model, const Layout& layout) {
  double ends = model.embedding_parameters();
  if (layout.pp == 1) ends += model.head_parameters();
  return ends / layout.tp;
}

void set_causes(const Cluster& cluster, const Tally& busy, std::vector<Cause> rest, Estimate& out) {
  out.causes = {{"matrix products", busy.products}, {"memory and launches", busy.streams}};
  for (std::size_t i = 0; i < cluster.levels.size(); ++i) {
    out.causes.push_back({cluster.levels[i].name, busy.exchange[i]});
  }
  for (Cause& cause : rest) {
    const auto same = std::find_if(out.causes.begin(), out.causes.end(),
                                   [&](const Cause& each) { return each.name == cause.name; });
    if (same != out.causes.end()) {
      same->seconds += cause.seconds;
    } else {
      out.causes.push_back(std::move(cause));
    }
  }
  double sum = 0;
  for (const Cause& cause : out.causes) sum += cause.seconds;
  // Differences of what is equal leave a trace of rounding.
  std::erase_if(out.causes, [&](const Cause& cause) { return !(cause.seconds > 1e-12 * sum); });
  std::stable_sort(out.causes.begin(), out.causes.end(),
                   [](const Cause& a, const Cause& b) { return a.seconds > b.seconds; });
  out.seconds = 0;
  for (const Cause& cause : out.causes) out.seconds += cause.seconds;
}

void explain_ops(const char* what, const std::vector<LayerOp>& ops, const Prices& prices,
                 Estimate& out) {
  out.steps.push_back(what);
  for (const LayerOp& op : ops) {
    if (!(op.seconds > 0)) continue;
    std::string line =
        fmt::format("  {:<24} {:<8}{:>9.3g} us", op.name, kind_text(op.kind), op.seconds * 1e6);
    if (!op.extents.empty()) line += "  " + op.extents;
    if (op.flops > 0) line += fmt::format("  {:.3g} GFLOP", op.flops * 1e-9);
    if (op.bytes > 0) line += fmt::format("  {:.3g} MB", op.bytes * 1e-6);
    if (op.kind == LayerOp::Kind::exchange) {
      line += fmt::format("  {} ranks", op.group.size);
      out.steps.push_back(line);
      out.steps.push_back(
          fmt::format("{:27}{} on {}", "", name_of(op.operation),
                      prices.cluster().levels[static_cast<std::size_t>(op.level)].name));
      continue;
    }
    out.steps.push_back(line);
  }
}

Estimate estimate(const Model& model, const Software& software, const Prices& prices,
                  const Workload& asked, const Layout& layout, bool explain) {
  const Cluster& cluster = prices.cluster();
  Workload workload = asked;
  // Whole numbers do not stand in for the floating point that training asks for.
  const bool training = workload.kind == Workload::Kind::train;
  if (training && workload.type == "fp8" && cluster.device.peak.count("fp8") == 0) {
    workload.type = "bf16";
  }
  Estimate out;
  out.layout = layout;
  out.why_not = why_no_layout(model, software, cluster, workload, layout);
  if (!out.why_not.empty()) return out;
  const std::vector<int> dp = prices.spread({layout.dp, layout.tp});
  const bool between_nodes = dp.back() > 1;
  out.memory = memory_need(model, software, workload, layout, between_nodes);
  const double room = usable_memory * cluster.device.memory_bytes;
  out.fits = out.memory.total() <= room;
  if (!out.fits) {
    out.why_not = fmt::format("it needs {:.3g} GB a device, of {:.3g} GB",
                              out.memory.total() * 1e-9, room * 1e-9);
    if (!explain) return out;
  }
  out.flops = model_flops(model, workload);
  if (training) {
    estimate_training(model, software, prices, workload, out, explain);
  } else {
    estimate_inference(model, software, prices, workload, out, explain);
  }
  const double peak = cluster.device.rate(workload.type) * layout.ranks();
  out.peak_share = out.flops / out.seconds / peak;
  return out;
}

}  // namespace shoal::planning
