// A training step of models/gpt.cpp, kernel by kernel in the order in which the trainer runs them,
// each at the rate that `shoal tune` has measured for its shape. What the ranks exchange costs what
// the formulae beside the algorithms say. The gradients' sum waits for the backward pass where the
// replicas share a node; between nodes it goes on beside it, bucket by bucket, as
// BucketedAllReduce does it: of the two at once each goes slower by what was measured.
#include "cost/gpt_step.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <shoal/collectives/bucketed_all_reduce.hpp>
#include <shoal/planning/kernels.hpp>

#include "cost/tally.hpp"

namespace shoal::planning {
namespace {

double whole(Index value) { return static_cast<double>(value); }

constexpr double float_bytes = 4;
constexpr double most_logit_rows = 1024;  // of models/gpt_block.hpp

// A bucket of gradients: the stage of the backward pass after which it is whole, and what its sum
// takes alone.
struct GradientBucket {
  std::size_t stage = 0;
  double seconds = 0;
};

class GptStep {
 public:
  GptStep(const Model& model, const Prices& prices, const Workload& workload, const Layout& layout,
          double footprint)
      : model_(model),
        prices_(prices),
        workload_(workload),
        layout_(layout),
        device_(prices.cluster().device),
        footprint_(footprint),
        tp_(layout.tp),
        rows_(whole(layout.micro_batch * workload.sequence)),
        width_(whole(model.width)),
        heads_(whole(model.heads) / tp_),
        inner_(whole(model.ffn) / tp_),
        ids_(std::ceil(whole(model.vocabulary) / tp_)),
        layers_(whole(model.layers)),
        micro_steps_(std::ceil(whole(workload.batch) / whole(layout.dp * layout.micro_batch))) {
    // Fewer ranks than the node has leave it less crowded than it was when it was measured.
    const int full = prices.cluster().devices_per_node;
    const double busy = std::min(layout.ranks(), full) - 1.0;
    const auto relief = [&](const std::optional<Figure>& crowded) {
      if (!crowded || full <= 1) return 1.0;
      return (1 + (*crowded - 1) * busy / (full - 1)) / *crowded;
    };
    product_relief_ = relief(device_.crowded_products);
    stream_relief_ = relief(device_.crowded_streams);
  }

  void run(Estimate& out, bool explain) {
    explain_ = explain;
    const Tally embedding = part("The embedding, forward:", [&] { embed(); });
    const Tally forward = part("A layer, forward:", [&] { layer_forward(true); });
    const Tally head = part("The head, forward and backward:", [&] { head_both(); });
    const Tally norm = part("The final norm, backward:", [&] { norm_backward(); });
    const Tally backward = part("A layer, backward:", [&] { layer_backward(); });
    Tally again;
    if (layout_.recompute == Recompute::full) {
      again = part("A layer, made again:", [&] { layer_forward(false); });
    }
    const Tally embedding_back = part("The embedding, backward:", [&] { embedding_backward(); });
    Tally busy;
    busy.add(embedding, micro_steps_);
    busy.add(forward, micro_steps_ * layers_);
    busy.add(head, micro_steps_);
    busy.add(norm, micro_steps_);
    busy.add(backward, micro_steps_ * layers_);
    busy.add(again, micro_steps_ * (layers_ - 1));
    busy.add(embedding_back, micro_steps_);
    busy.add(part("Zeros of the gradients:", [&] { zero(); }), 1);

    std::vector<Cause> rest;
    if (layout_.dp > 1) rest.push_back(sum_of_gradients(norm, backward, again, embedding_back));
    const Tally agreement = part("Loss and norm:", [&] {
      exchange("loss over all ranks", Operation::all_reduce, 24, {layout_.ranks(), 1});
      const Group all{layout_.ranks(), 1}, mine{layout_.tp, 1};
      stream("norm of the gradient", "sum_of_squares", owned(), 1);
      if (layout_.zero >= 1 || tp_ > 1) {
        exchange("norm over ranks", Operation::all_reduce, 8, layout_.zero >= 1 ? all : mine);
      }
    });
    busy.add(agreement, 1);
    rest.push_back({"optimizer", seconds_of("adamw", owned(), 1)});
    if (layout_.zero >= 1 && layout_.dp > 1) rest.push_back(gather_weights());
    lines_.insert(lines_.end(), overlap_lines_.begin(), overlap_lines_.end());
    set_causes(prices_.cluster(), busy, rest, out);
    out.tokens_per_second =
        whole(workload_.batch) * whole(workload_.sequence) / out.seconds;
    out.done_flops = busy.flops * layout_.ranks();
    if (!explain) return;
    out.steps = std::move(lines_);
    out.steps.push_back(fmt::format("{:.0f} micro-steps of {} x {} tokens; {:.0f} layers; the "
                                    "optimizer {:.4g} ms; together {:.5g} ms",
                                    micro_steps_, layout_.micro_batch, workload_.sequence, layers_,
                                    seconds_of("adamw", owned(), 1) * 1e3, out.seconds * 1e3));
  }

 private:
  // Parameters of a rank.
  double layer_weights() const {
    return (4 * width_ * width_ + 2 * width_ * whole(model_.ffn)) / tp_;
  }
  double small_weights() const {  // norms and biases
    const double biases = model_.bias ? (3 * width_ + whole(model_.ffn)) / tp_ + 2 * width_ : 0;
    return layers_ * ((model_.bias ? 4 : 2) * width_ + biases) + (model_.bias ? 2 : 1) * width_;
  }
  double positions() const { return whole(workload_.sequence) * width_; }
  double weights() const {
    return ids_ * width_ + positions() + layers_ * layer_weights() + small_weights();
  }
  double owned() const { return weights() / (layout_.zero >= 1 ? layout_.dp : 1); }

  template <class Fill>
  Tally part(const char* title, const Fill& fill) {
    now_ = {};
    if (explain_) lines_.push_back(title);
    fill();
    return now_;
  }
  void line(const std::string& name, double seconds, const std::string& what) {
    if (explain_) lines_.push_back(fmt::format("  {:<26}{:>10.4g} us  {}", name, seconds * 1e6, what));
  }

  void product(const char* name, Form form, double m, double n, double k) {
    // The weight, or its gradient, was last touched in another step.
    const double cold =
        form == Form::tn
            ? cold_seconds_of(device_, cold_gradients, float_bytes * m * n, footprint_)
            : cold_seconds_of(device_, cold_weights, float_bytes * n * k, footprint_);
    const double seconds =
        product_relief_ * product_seconds_of(device_, workload_.type, form, m, n, k) + cold;
    now_.products += seconds;
    now_.flops += 2 * m * n * k;
    line(name, seconds, fmt::format("{:.0f} x {:.0f} x {:.0f}", m, n, k));
  }
  double seconds_of(const char* kernel, double rows, double cols) const {
    return stream_relief_ * stream_seconds_of(device_, kernel, rows, cols);
  }
  void stream(const char* name, const char* kernel, double rows, double cols) {
    const double seconds = seconds_of(kernel, rows, cols);
    now_.streams += seconds;
    line(name, seconds, fmt::format("{:.0f} x {:.0f}", rows, cols));
  }
  void exchange(const char* name, Operation operation, double bytes, Group group) {
    int level = 0;
    const double seconds = prices_.collective(operation, bytes, group, &level);
    if (seconds <= 0) return;
    now_.exchange[static_cast<std::size_t>(level)] += seconds;
    line(name, seconds,
         fmt::format("{} of {:.3g} kB over {}", name_of(operation), bytes * 1e-3, group.size));
  }
  void join(const char* name, double rows) {
    exchange(name, Operation::all_reduce, float_bytes * rows * width_, {layout_.tp, 1});
  }
  void dropout(double elements) {
    if (workload_.dropout) stream("dropout", "dropout", elements, 1);
  }

  void embed() {
    stream("look-up", "embedding_forward", rows_, width_);
    join("sum of the embedding", rows_);
    stream("positions", "add", rows_, width_);
    dropout(rows_ * width_);
    stream("final norm", "layer_norm_forward", rows_, width_);
  }

  void attention(bool backward) {
    const double tokens = whole(workload_.sequence);
    const double count = rows_ / tokens * heads_;
    const double seconds =
        product_relief_ * attention_seconds_of(device_, workload_.type, backward, count, tokens,
                                               whole(model_.head_width));
    now_.products += seconds;
    now_.flops += (backward ? 10 : 4) * count * tokens * tokens * whole(model_.head_width) / 2;
    line("attention", seconds, fmt::format("{:.0f} heads of {:.0f} tokens", count, tokens));
    dropout(count * tokens * tokens / 2);
  }

  void layer_forward(bool to_the_end) {
    const double head_columns = heads_ * whole(model_.head_width);
    stream("norm", "layer_norm_forward", rows_, width_);
    product("queries, keys, values", Form::nt, rows_, 3 * head_columns, width_);
    if (model_.bias) stream("bias", "add_bias", rows_, 3 * head_columns);
    attention(false);
    product("output of attention", Form::nt, rows_, width_, head_columns);
    join("sum after attention", rows_);
    if (model_.bias) stream("bias", "add_bias", rows_, width_);
    dropout(rows_ * width_);
    stream("residual", "add", rows_, width_);
    stream("norm", "layer_norm_forward", rows_, width_);
    product("MLP", Form::nt, rows_, inner_, width_);
    stream("activation", "bias_gelu", rows_, inner_);
    if (!to_the_end) return;
    product("back to the width", Form::nt, rows_, width_, inner_);
    join("sum after the MLP", rows_);
    if (model_.bias) stream("bias", "add_bias", rows_, width_);
    dropout(rows_ * width_);
    stream("residual", "add", rows_, width_);
  }

  void linear_backward(const char* name, double in, double out, bool summed) {
    product(name, Form::nn, rows_, in, out);
    if (summed) join("sum of the gradient", rows_);
    product(name, Form::tn, out, in, rows_);
    if (model_.bias) stream("bias", "bias_gradient", rows_, out);
  }

  void layer_backward() {
    const double head_columns = heads_ * whole(model_.head_width);
    dropout(rows_ * width_);
    linear_backward("back to the width", inner_, width_, false);
    stream("activation", "gelu_backward", rows_, inner_);
    linear_backward("MLP", width_, inner_, true);
    stream("norm", "layer_norm_backward", rows_, width_);
    dropout(rows_ * width_);
    linear_backward("output of attention", head_columns, width_, false);
    attention(true);
    linear_backward("queries, keys, values", width_, 3 * head_columns, true);
    stream("norm", "layer_norm_backward", rows_, width_);
  }

  // In parts, forward and backward of each.
  void head_both() {
    const double parts = std::ceil(rows_ / most_logit_rows);
    const double rows = rows_ / parts;
    Tally sum = now_;
    product("logits", Form::nt, rows, ids_, width_);
    stream("loss", "cross_entropy_forward", rows, ids_);
    exchange("loss over tp", Operation::all_gather, 3 * float_bytes * rows * tp_, {layout_.tp, 1});
    stream("gradient of the logits", "cross_entropy_backward", rows, ids_);
    product("logits", Form::nn, rows, width_, ids_);
    join("sum of the gradient", rows);
    product("logits", Form::tn, ids_, width_, rows);
    sum.add(now_, parts);
    now_ = sum;
  }

  void norm_backward() {
    stream("zeros", "fill", rows_, width_);
    stream("final norm", "layer_norm_backward", rows_, width_);
  }

  void embedding_backward() {
    dropout(rows_ * width_);
    stream("rows of the embedding", "embedding_backward", rows_, width_);
    stream("positions", "add", rows_, width_);
  }

  void zero() { stream("zeros", "fill", positions() + small_weights(), 1); }

  // The flat array is cut into equal buckets; a bucket is whole after the last stage that one of
  // its parameters has its gradient from: the embedding the first, then the layers from the last.
  std::vector<GradientBucket> buckets(const Group& group, int* level) const {
    const auto count = static_cast<Index>(weights());
    const std::vector<Index> sizes = BucketedAllReduce::bucket_sizes(
        count, DType::f32, true, BucketedAllReduce::Options{}.bucket_bytes);
    const Operation operation =
        layout_.zero >= 1 ? Operation::reduce_scatter : Operation::all_reduce;
    std::vector<GradientBucket> all;
    double begin = 0;
    for (const Index size : sizes) {
      GradientBucket bucket;
      const double end = begin + whole(size);
      const double matrices = ids_ * width_, layers_end = matrices + layers_ * layer_weights();
      if (begin < layers_end && end > matrices) {
        const double first = std::floor(std::max(0.0, begin - matrices) / layer_weights());
        bucket.stage = static_cast<std::size_t>(layers_ - first);
      }
      if (end > layers_end) bucket.stage = static_cast<std::size_t>(layers_) + 1;
      bucket.seconds = prices_.collective(operation, float_bytes * whole(size), group, level);
      all.push_back(bucket);
      begin = end;
    }
    std::stable_sort(all.begin(), all.end(), [](const GradientBucket& a, const GradientBucket& b) {
      return a.stage < b.stage;
    });
    return all;
  }

  // What the sum of gradients adds to the step.
  Cause sum_of_gradients(const Tally& norm, const Tally& backward, const Tally& again,
                         const Tally& embedding_back) {
    const Group group{layout_.dp, layout_.tp};
    const std::vector<int> counts = prices_.spread(group);
    int level = 0;
    const bool one_node = counts.size() == 1 ? is_shared(0) : counts.back() == 1;
    if (one_node) {
      const Operation operation =
          layout_.zero >= 1 ? Operation::reduce_scatter : Operation::all_reduce;
      const double seconds = prices_.collective(operation, float_bytes * weights(), group, &level);
      overlap_lines_.push_back(
          fmt::format("Gradients: {:.4g} ms, after the backward pass", seconds * 1e3));
      return {prices_.cluster().levels[static_cast<std::size_t>(level)].name, seconds};
    }
    const std::vector<GradientBucket> all = buckets(group, &level);
    std::vector<double> stages = {norm.total()};
    for (int layer = 0; layer < static_cast<int>(layers_); ++layer) {
      stages.push_back(backward.total() + (layer > 0 ? again.total() : 0));
    }
    stages.push_back(embedding_back.total());
    double computing = 0, summing = 0;
    for (const double each : stages) computing += each;
    for (const GradientBucket& each : all) summing += each.seconds;
    const double late = late_embedding(group);
    const double added = beside(stages, all, level) - computing + late;
    overlap_lines_.push_back(fmt::format(
        "Gradients: {} buckets of {:.4g} ms in all beside {:.4g} ms of backward pass, then {:.4g} ms "
        "for the rows of the embedding; {:.4g} ms not hidden",
        all.size(), summing * 1e3, computing * 1e3, late * 1e3, added * 1e3));
    return {prices_.cluster().levels[static_cast<std::size_t>(level)].name, added};
  }

  bool is_shared(std::size_t level) const {
    return prices_.cluster().levels[level].kind == Level::Kind::shared_memory;
  }

  // Rows of the embedding that this step has met, from all to all (models/late_embedding.cpp).
  double late_embedding(const Group& group) const {
    const double dp = layout_.dp;
    const double vocabulary = whole(model_.vocabulary);
    const double drawn = 1 - std::pow(1 - 1 / vocabulary, rows_ * micro_steps_);
    const double met = ids_ * drawn;  // tokens without a pattern
    double seconds = prices_.collective(Operation::all_gather, 8 * dp, group);
    if (dp * met > 2 * ids_) {
      return seconds + prices_.collective(Operation::all_reduce, float_bytes * ids_ * width_, group) +
             2 * seconds_of("add", ids_, width_);
    }
    seconds += prices_.collective(Operation::all_gather, 4 * dp * met, group);
    seconds += prices_.collective(Operation::all_gather, float_bytes * dp * met * width_, group);
    return seconds + seconds_of("add", dp * met, width_);
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

  Cause gather_weights() const {
    int level = 0;
    const double seconds = prices_.collective(Operation::all_gather, float_bytes * weights(),
                                              {layout_.dp, layout_.tp}, &level);
    return {prices_.cluster().levels[static_cast<std::size_t>(level)].name, seconds};
  }

  const Model& model_;
  const Prices& prices_;
  const Workload& workload_;
  const Layout& layout_;
  const Device& device_;
  double footprint_;
  double tp_, rows_, width_, heads_, inner_, ids_, layers_, micro_steps_;
  double product_relief_ = 1, stream_relief_ = 1;
  Tally now_;
  bool explain_ = false;
  std::vector<std::string> lines_, overlap_lines_;
};

}  // namespace

bool is_gpt(const Model& model) {
  return model.learned_positions && model.tied && !model.gated && model.experts == 0 &&
         model.kv_rank == 0 && model.ffn == 4 * model.width && model.kv_heads == model.heads;
}

bool is_measured_step(const Model& model, const Software& software, const Device& device,
                      const Layout& layout) {
  return !device.measured.empty() && software.name == "shoal" && layout.pp == 1 && is_gpt(model);
}

void estimate_measured_step(const Model& model, const Prices& prices, const Workload& workload,
                            Estimate& out, bool explain) {
  GptStep(model, prices, workload, out.layout, out.memory.total()).run(out, explain);
}

}  // namespace shoal::planning
