// A training step.
//
// Pipelines run one forward, one backward (1F1B; Narayanan et al. 2021, section 2.2): with m
// micro-steps and p stages of v chunks the slowest stage works m times, and 1/v of a micro-step of
// each of the others is lost in filling and draining. Data-parallel ranks add gradients beside the
// backward pass as far as the software does so.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include <fmt/format.h>

#include "cost/gpt_gradients.hpp"
#include "cost/link_credit.hpp"
#include "cost/pieces.hpp"
#include "cost/tally.hpp"

namespace shoal::planning {
namespace {

// Seconds in which gradients and divided weights travel, and the level they cross.
struct Replicas {
  double seconds = 0;
  int level = 0;
};

Replicas replicas_of(const Model& model, const Software& software, const Prices& prices,
                     const Workload& workload, const Layout& layout, double micro_steps) {
  Replicas out;
  const double summed = travelling_bytes(workload.gradient_type, software.reduced_bytes);
  const double gathered = travelling_bytes(workload.gather_type, software.weight_bytes);
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
    if (layout.zero == 0) return price(Operation::all_reduce, summed, pieces);
    const double gather =
        price(Operation::all_gather, gathered, layout.zero >= 3 ? pieces : 1);
    // ZeRO-3 gathers the weights for each forward and each backward pass, and keeps none.
    const double gathers = layout.zero >= 3 ? 2 * micro_steps : 1;
    const double sums = layout.zero >= 2 ? micro_steps : 1;
    return sums * price(Operation::reduce_scatter, summed, pieces) +
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

Tally average_of(const LayerPieces& dense, const LayerPieces& expert, double moe,
                 std::vector<LayerOp> LayerPieces::*pass) {
  Tally sum;
  sum.add(tally(dense.*pass), 1 - moe);
  sum.add(tally(expert.*pass), moe);
  return sum;
}

// What a rank of each stage does in a micro-step.
std::vector<Tally> tallies_of_stages(const StepPieces& pieces, const std::vector<Index>& layers,
                                     double moe) {
  Tally per_layer, again = average_of(pieces.dense, pieces.expert, moe, &LayerPieces::again);
  per_layer.add(average_of(pieces.dense, pieces.expert, moe, &LayerPieces::forward), 1);
  per_layer.add(average_of(pieces.dense, pieces.expert, moe, &LayerPieces::backward), 1);
  per_layer.add(again, 1);
  std::vector<Tally> stages;
  for (std::size_t stage = 0; stage < layers.size(); ++stage) {
    Tally& own = stages.emplace_back();
    own.add(per_layer, static_cast<double>(layers[stage]));
    // The trainer keeps what the last layer has made.
    if (pieces.measured && layers.size() == 1) own.add(again, -1);
    if (stage == 0) {
      own.add(tally(pieces.begin), 1);
      own.add(tally(pieces.begin_backward), 1);
    }
    if (stage + 1 == layers.size()) own.add(tally(pieces.head), 1);
  }
  return stages;
}

// The passes of a step: what an average stage does in them, and how long it waits.
struct Pipeline {
  Tally busy;
  double idle = 0;
  double even = 0, pace = 0;  // of a micro-step, on average and in the slowest stage
  std::size_t slowest = 0;
};

// All micro-steps of the slowest stage, and before and after them one in each of the others: a
// permutation flow shop of alike jobs (Pinedo, Scheduling, 6.1). While the pipeline fills and
// drains fewer stages are at work, which is quicker where they share anything.
Pipeline pipeline_of(const Layout& layout, Index micro_steps,
                     const std::function<std::vector<Tally>(int)>& stages_at_work) {
  const int p = layout.pp;
  // Micro-steps of the slowest stage, and of the others, by how many stages are at work.
  std::map<int, Index> in_pace, in_others;
  Index left = p - 1;
  for (int stages = 1; stages <= p; ++stages) {
    // The pipeline fills and drains one by one, and between is as full as it gets.
    const Index full = std::min<Index>(p, micro_steps);
    const Index slots = stages < full    ? 2
                        : stages == full ? micro_steps + p - 1 - 2 * (full - 1)
                                         : 0;
    const Index others = std::min(slots, left);
    left -= others;
    if (others > 0) in_others[stages] = others;
    if (slots > others) in_pace[stages] = slots - others;
  }
  Pipeline out;
  for (int stages = 1; stages <= p; ++stages) {
    if (in_pace.count(stages) + in_others.count(stages) == 0) continue;
    const std::vector<Tally> own = stages_at_work(stages);
    Tally average;
    double pace = 0;
    for (std::size_t stage = 0; stage < own.size(); ++stage) {
      average.add(own[stage], 1.0 / p);
      if (own[stage].total() > pace) out.slowest = stage;
      pace = std::max(pace, own[stage].total());
    }
    const double even = average.total();
    if (const auto found = in_pace.find(stages); found != in_pace.end()) {
      const auto count = static_cast<double>(found->second);
      out.busy.add(average, count);
      out.idle += count * (pace - even);
    }
    if (const auto found = in_others.find(stages); found != in_others.end()) {
      out.idle +=
          static_cast<double>(found->second) * (p * even - pace) / (p - 1) / layout.interleave;
    }
    out.even = even;
    out.pace = pace;
  }
  return out;
}

// Gradients of a stage travel while those before it have their backward passes still before them;
// what the last to end has not hidden so.
GradientSum gradients_of_stages(const Model& model, const Prices& prices, const Workload& workload,
                                const Layout& layout, const StepPieces& pieces,
                                const std::vector<Index>& layers, double* hidden) {
  const Tally backward = tally(pieces.dense.backward), again = tally(pieces.dense.again);
  const double embedding = tally(pieces.begin_backward).total();
  const std::vector<LayerOp>& ops = pieces.dense.backward;
  const std::vector<LayerOp> mlp(
      ops.begin(), ops.begin() + static_cast<std::ptrdiff_t>(pieces.dense.mlp_backward));
  GradientSum last;
  double before = 0;  // backward passes of the stages before
  for (std::size_t stage = 0; stage < layers.size(); ++stage) {
    BackwardPass pass;
    pass.layers = layers[stage];
    pass.has_embedding = stage + 1 == layers.size();
    pass.weights = stage_weights(model, layout, layers[stage], pass.has_embedding);
    pass.mlp_seconds = tally(mlp).total();
    pass.layer_seconds = backward.total();
    pass.again_seconds = again.total();
    pass.embedding_seconds = stage == 0 ? embedding : 0;
    pass.gradients_wait = pieces.gradients_wait;
    GradientSum sum = gpt_gradients(model, prices, workload, layout, pass);
    if (stage == 0 || sum.seconds - before > last.seconds - *hidden) {
      last = std::move(sum);
      *hidden = before;
    }
    before += static_cast<double>(layers[stage]) * (backward.total() + again.total()) +
              pass.embedding_seconds;
  }
  *hidden = std::min(*hidden, last.seconds);
  return last;
}

}  // namespace

void estimate_training(const Model& model, const Software& software, const Prices& prices,
                       const Workload& workload, Estimate& out, bool explain) {
  const Layout& layout = out.layout;
  const Cluster& cluster = prices.cluster();
  const double m =
      static_cast<double>(workload.batch) / static_cast<double>(layout.dp * layout.micro_batch);
  const double p = layout.pp, v = layout.interleave;
  const double rows = static_cast<double>(layout.micro_batch * workload.sequence);
  const double moe = expert_share(model);
  const StepPieces pieces =
      step_pieces(model, software, prices, workload, layout, out.memory.total());
  if (explain) {
    const auto tell = [&](const char* what, const std::vector<LayerOp>& ops) {
      if (!ops.empty()) explain_ops(what, ops, prices, out);
    };
    tell("The embedding, forward:", pieces.begin);
    tell("A layer, forward, one micro-batch on one rank:", pieces.dense.forward);
    tell("A layer with experts, forward, one micro-batch on one rank:", pieces.expert.forward);
    if (pieces.measured) {
      tell("A layer, backward:", pieces.dense.backward);
      tell("A layer, made again:", pieces.dense.again);
    }
    tell("The output layer and the loss, both passes:", pieces.head);
    tell("The embedding, backward:", pieces.begin_backward);
  }
  const auto of_layers = [&](std::vector<LayerOp> LayerPieces::*pass) {
    return average_of(pieces.dense, pieces.expert, moe, pass);
  };
  const Tally forward = of_layers(&LayerPieces::forward);
  const Tally backward = of_layers(&LayerPieces::backward);
  const Tally again = of_layers(&LayerPieces::again);
  // The stage with the most work sets the pace; the last one has the output layer as well.
  const std::vector<Index> layers = layers_of_stages(model, software, workload, layout);
  const std::vector<Tally> all_at_work = tallies_of_stages(pieces, layers, moe);
  const auto stages_at_work = [&](int stages) {
    if (!pieces.measured || stages == layout.pp) return all_at_work;
    return tallies_of_stages(
        step_pieces(model, software, prices, workload, layout, out.memory.total(), stages), layers,
        moe);
  };
  const Pipeline pipe = pipeline_of(layout, static_cast<Index>(m), stages_at_work);
  Tally busy = pipe.busy;
  const double even = pipe.even, pace = pipe.pace, idle = pipe.idle;
  const std::size_t slowest = pipe.slowest;
  const std::vector<double> unrested =
      seconds_without_rest(prices, layout, pieces, static_cast<int>(m), layers[slowest]);
  for (std::size_t i = 0; i < unrested.size(); ++i) busy.exchange[i] += unrested[i];

  std::vector<Cause> rest;
  rest.push_back({"pipeline bubble", idle});
  double hops = 0;
  if (layout.pp > 1) {
    // Each rank of tp sends its part of the rows, and they gather them (Narayanan et al.
    // 2021, 4.1).
    const double number_bytes = pieces.measured || workload.type == "fp32" ? 4 : 2;
    const double bytes = rows * static_cast<double>(model.width) * number_bytes;
    int level = 0;
    const double hop = prices.message(bytes / layout.tp, layout.dp * layout.tp, &level) +
                       software.call_seconds +
                       (layout.sequence_parallel
                            ? 0
                            : prices.collective(Operation::all_gather, bytes, {layout.tp, 1}));
    // This runtime sends beside the computation: filling and draining wait for every hop, and then
    // a micro-step for one, since of two neighbours each waits for what the other has just begun.
    // Those that follow each other go at the rate of the link, whatever it lets pass after a rest.
    const Level& link = cluster.levels[static_cast<std::size_t>(level)];
    const double next = std::max(hop, link.latency + bytes / layout.tp * link.beta());
    hops = pieces.measured ? hop * 2 * (p - 1) + next * (m - 1) : 2 * hop * (m * v + p - 1);
    // The first stage cannot begin without rows of the embedding, which the last one has, and that one
    // cannot update them before their gradients have come back.
    // Only the ranks of one stage send them: those on a node share its link.
    if (pieces.measured) {
      const int distance = layout.dp * layout.tp * (layout.pp - 1);
      int far = 0;
      prices.message(0, distance, &far);
      const int sharing = cluster.levels[static_cast<std::size_t>(far)].shared_by;
      const double part = std::min(layout.dp * layout.tp, sharing) / static_cast<double>(sharing);
      hops += 2 * prices.message(borrowed_bytes(model, workload, layout) * part, distance);
    }
    rest.push_back({cluster.levels[static_cast<std::size_t>(level)].name, hops});
  }

  const double most_weights =
      pieces.measured ? stage_weights(model, layout, layers[slowest], slowest + 1 == layers.size())
                      : rank_parameters(model, layout);
  double summing = 0, exposed = 0;
  if (pieces.measured && layout.dp > 1) {
    double hidden = 0;
    const GradientSum sum =
        gradients_of_stages(model, prices, workload, layout, pieces, layers, &hidden);
    summing = sum.seconds;
    exposed = summing - hidden;
    int level = sum.level;
    if (explain) out.steps.push_back(sum.text);
    if (layout.zero >= 1) {
      const double bytes = travelling_bytes(workload.gather_type, software.weight_bytes);
      exposed += prices.collective(Operation::all_gather, bytes * most_weights,
                                   {layout.dp, layout.tp}, &level);
    }
    rest.push_back({cluster.levels[static_cast<std::size_t>(level)].name, exposed});
  } else if (!pieces.measured) {
    const Replicas replicas = replicas_of(model, software, prices, workload, layout, m);
    // Beside the backward pass of the last micro-step; ZeRO-3 has all passes.
    const double passing =
        static_cast<double>(model.layers) / p * (backward.total() + again.total());
    const double beside = layout.zero >= 3 ? m * even : passing;
    summing = replicas.seconds;
    exposed = std::max(replicas.seconds - software.gradient_overlap * beside,
                       (1 - software.gradient_overlap) * replicas.seconds);
    rest.push_back({cluster.levels[static_cast<std::size_t>(replicas.level)].name, exposed});
    // What hides takes multiprocessors from the computation that it hides behind.
    if (software.exchange_units) {
      const double share = std::min(*software.exchange_units / cluster.device.units, 1.0);
      rest.push_back({"multiprocessors of collectives", (summing - exposed) * share});
    }
  }

  const std::vector<LayerOp> update =
      update_pieces(model, software, prices, workload, layout, most_weights);
  if (explain && pieces.measured) explain_ops("After the passes:", update, prices, out);
  for (const LayerOp& op : update) {
    const bool travels = op.kind == LayerOp::Kind::exchange;
    rest.push_back(
        {travels ? cluster.levels[static_cast<std::size_t>(op.level)].name : "optimizer", op.seconds});
  }
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
                                  forward.total() * 1e3, backward.total() * 1e3,
                                  again.total() * 1e3));
  out.steps.push_back(fmt::format(
      "  stage: {:.4g} ms a micro-step on average, the slowest {:.4g} ms", even * 1e3, pace * 1e3));
  out.steps.push_back(fmt::format(
      "  bubble: a micro-step of each of the {} other stages, and m x {:.4g} ms = {:.4g} ms",
      layout.pp - 1, (pace - even) * 1e3, idle * 1e3));
  out.steps.push_back(fmt::format("  between stages: {:.4g} ms", hops * 1e3));
  double waits = 0;
  for (const double each : unrested) waits += each;
  if (waits > 0) {
    out.steps.push_back(
        fmt::format("  exchanges that follow each other too closely for what links let pass at once: "
                    "{:.4g} ms more",
                    waits * 1e3));
  }
  out.steps.push_back(fmt::format("  gradients: {:.4g} ms over {} replicas, {:.4g} ms not hidden",
                                  summing * 1e3, layout.dp, exposed * 1e3));
  out.steps.push_back(fmt::format("  update of {:.4g} M weights: {:.4g} ms", most_weights * 1e-6,
                                  tally(update).total() * 1e3));
  out.steps.push_back(fmt::format("  together {:.5g} ms", out.seconds * 1e3));
}

}  // namespace shoal::planning
