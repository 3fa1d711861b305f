// The sum of gradients of this runtime's GPT over its replicas. It waits for the backward pass where the
// replicas share a node; between nodes it goes on beside it, bucket by bucket, as BucketedAllReduce
// does it: of the two at once each goes slower by what was measured.
#include "cost/gpt_gradients.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <shoal/collectives/bucketed_all_reduce.hpp>
#include <shoal/planning/kernels.hpp>

#include "cost/tally.hpp"

namespace shoal::planning {
namespace {

constexpr double own_bytes = 4;  // of a gradient that is not rounded

double whole_number(Index value) { return static_cast<double>(value); }

class GptGradients {
 public:
  GptGradients(const Model& model, const Prices& prices, const Workload& workload,
               const Layout& layout, const BackwardPass& pass)
      : model_(model),
        prices_(prices),
        workload_(workload),
        layout_(layout),
        device_(prices.cluster().device),
        pass_(pass),
        bytes_(travelling_bytes(workload.gradient_type, own_bytes)),
        weights_(pass.weights),
        ids_(pass.has_embedding ? std::ceil(whole_number(model.vocabulary) / layout.tp) : 0),
        width_(whole_number(model.width)),
        layers_(whole_number(pass.layers)) {}

  GradientSum run() const {
    const Group group{layout_.dp, layout_.tp};
    GradientSum sum;
    if (pass_.gradients_wait) {
      const Operation operation =
          layout_.zero >= 1 ? Operation::reduce_scatter : Operation::all_reduce;
      sum.seconds = prices_.collective(operation, bytes_ * weights_, group, &sum.level);
      sum.text = fmt::format("Gradients: {:.4g} ms, after the backward pass", sum.seconds * 1e3);
      return sum;
    }
    const std::vector<GradientBucket> all = buckets(group, &sum.level);
    std::vector<double> stages = {0};
    for (Index layer = 0; layer < pass_.layers; ++layer) {
      stages.push_back(pass_.mlp_seconds + (layer > 0 ? pass_.again_seconds : 0));
      stages.push_back(pass_.layer_seconds - pass_.mlp_seconds);
    }
    stages.push_back(pass_.embedding_seconds);
    double computing = 0, summing = 0;
    for (const double each : stages) computing += each;
    for (const GradientBucket& each : all) summing += each.seconds;
    const double late = pass_.has_embedding ? tally(late_embedding()).total() : 0;
    sum.seconds = beside(stages, all, sum.level) - computing + late;
    sum.text = fmt::format(
        "Gradients: {} buckets of {:.4g} ms in all beside {:.4g} ms of backward pass, then {:.4g} ms "
        "for the rows of the embedding; {:.4g} ms not hidden",
        all.size(), summing * 1e3, computing * 1e3, late * 1e3, sum.seconds * 1e3);
    return sum;
  }

  // The flat array is cut into equal buckets; a bucket is whole after the last stage that one of
  // its parameters has its gradient from: the embedding the first, then the layers from the last.
  std::vector<GradientBucket> buckets(const Group& group, int* level) const {
    const auto count = static_cast<Index>(weights_);
    const std::vector<Index> sizes = BucketedAllReduce::bucket_sizes(
        count, DType::f32, true, BucketedAllReduce::Options{}.bucket_bytes);
    const Operation operation =
        layout_.zero >= 1 ? Operation::reduce_scatter : Operation::all_reduce;
    std::vector<GradientBucket> all;
    double credit = prices_.credit(group);
    double begin = 0;
    for (const Index size : sizes) {
      GradientBucket bucket;
      const double end = begin + whole_number(size);
      const double matrices = ids_ * width_, layers_end = matrices + layers_ * layer_weights();
      if (begin < layers_end && end > matrices) {
        // A layer's attention lies before its MLP, and has its gradients after it.
        const double from = std::max(0.0, begin - matrices);
        const double first = std::floor(from / layer_weights());
        const bool mlp = from - first * layer_weights() >= attention_weights();
        bucket.stage = static_cast<std::size_t>(2 * (layers_ - first) - (mlp ? 1 : 0));
      }
      if (end > layers_end) bucket.stage = static_cast<std::size_t>(2 * layers_) + 1;
      // A link that has rested lets the first ones pass at once.
      const double bytes = bytes_ * whole_number(size);
      prices_.collective(operation, bytes, group, level);
      bucket.operation = operation;
      bucket.bytes = bytes;
      bucket.seconds = prices_.collective_after(operation, bytes, group, credit);
      credit = std::max(0.0, credit - prices_.link_bytes(operation, bytes, group));
      all.push_back(bucket);
      begin = end;
    }
    std::stable_sort(all.begin(), all.end(), [](const GradientBucket& a, const GradientBucket& b) {
      return a.stage < b.stage;
    });
    return all;
  }

  // models/late_embedding.cpp
  std::vector<LayerOp> late_embedding() const {
    const Group group{layout_.dp, layout_.tp};
    const double dp = layout_.dp;
    const double tokens = whole_number(workload_.batch) / dp * whole_number(workload_.sequence);
    const double vocabulary = whole_number(model_.vocabulary);
    const double drawn = 1 - std::pow(1 - 1 / vocabulary, tokens);
    const double met = ids_ * drawn;  // tokens without a pattern
    std::vector<LayerOp> ops;
    const auto exchange = [&](Operation operation, double bytes) {
      LayerOp& op = ops.emplace_back();
      op.kind = LayerOp::Kind::exchange;
      op.name = "rows of the embedding";
      op.operation = operation;
      op.bytes = bytes;
      op.group = group;
      op.seconds = prices_.collective(operation, bytes, group, &op.level);
    };
    const auto sum = [&](double rows, double times) {
      LayerOp& op = ops.emplace_back();
      op.kind = LayerOp::Kind::stream;
      op.name = "rows of the embedding";
      op.seconds = times * stream_seconds_of(device_, "add", rows, width_);
    };
    // Where the stage that has the tokens has the table, too, the rest has been told during the passes.
    const bool announced = layout_.pp == 1;
    if (!announced) exchange(Operation::all_gather, 8 * dp);
    if (dp * met > 2 * ids_) {
      exchange(Operation::all_reduce, bytes_ * ids_ * width_);
      sum(ids_, 2);
      return ops;
    }
    if (!announced) exchange(Operation::all_gather, 4 * dp * met);
    exchange(Operation::all_gather, bytes_ * dp * met * width_);
    sum(dp * met, 1);
    return ops;
  }

 private:
  double attention_weights() const { return 4 * width_ * width_ / layout_.tp; }
  double layer_weights() const {
    return attention_weights() + 2 * width_ * whole_number(model_.ffn) / layout_.tp;
  }

  // Seconds until both are through.
  double beside(const std::vector<double>& stages, const std::vector<GradientBucket>& all,
                int level) const {
    const Level& link = prices_.cluster().levels[static_cast<std::size_t>(level)];
    const double slower = link.beside_slowdown ? link.beside_slowdown->value : 1;
    const double cost = link.beside_cost ? std::min(link.beside_cost->value, 0.95) : 0;
    double now = 0;
    std::size_t stage = 0, bucket = 0;
    double left_of_stage = stages.front();
    double left_of_bucket = all.empty() ? 0 : all.front().seconds;
    while (stage < stages.size() || bucket < all.size()) {
      const bool computes = stage < stages.size();
      const bool sends = bucket < all.size() && stage > all[bucket].stage;
      const double compute_speed = sends ? 1 - cost : 1;
      const double send_speed = computes ? 1 / slower : 1;
      double step = 1e300;
      if (computes) step = left_of_stage / compute_speed;
      if (sends) step = std::min(step, left_of_bucket / send_speed);
      now += step;
      if (computes) left_of_stage -= step * compute_speed;
      if (sends) left_of_bucket -= step * send_speed;
      constexpr double rounding = 1e-12;
      if (computes && left_of_stage <= rounding) {
        ++stage;
        left_of_stage = stage < stages.size() ? stages[stage] : 0;
      }
      if (sends && left_of_bucket <= rounding) {
        ++bucket;
        left_of_bucket = bucket < all.size() ? all[bucket].seconds : 0;
      }
    }
    return now;
  }

  const Model& model_;
  const Prices& prices_;
  const Workload& workload_;
  const Layout& layout_;
  const Device& device_;
  const BackwardPass& pass_;
  double bytes_;  // of a gradient on its way
  double weights_, ids_, width_, layers_;
};

}  // namespace

std::vector<GradientBucket> gradient_buckets(const Model& model, const Prices& prices,
                                             const Workload& workload, const Layout& layout,
                                             const BackwardPass& pass, int* level) {
  return GptGradients(model, prices, workload, layout, pass).buckets({layout.dp, layout.tp}, level);
}

std::vector<LayerOp> late_embedding_pieces(const Model& model, const Prices& prices,
                                           const Workload& workload, const Layout& layout) {
  return GptGradients(model, prices, workload, layout, {}).late_embedding();
}

GradientSum gpt_gradients(const Model& model, const Prices& prices, const Workload& workload,
                          const Layout& layout, const BackwardPass& pass) {
  return GptGradients(model, prices, workload, layout, pass).run();
}

}  // namespace shoal::planning
