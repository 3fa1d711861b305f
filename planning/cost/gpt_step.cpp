// A training step of models/gpt.cpp, kernel by kernel in the order in which the trainer runs them,
// each at the rate that `shoal tune` has measured for its shape. What the ranks exchange costs what
// Prices says.
#include "cost/gpt_step.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <shoal/planning/kernels.hpp>

#include "cost/crowd.hpp"
#include "cost/tally.hpp"

namespace shoal::planning {
namespace {

double whole(Index value) { return static_cast<double>(value); }

// Norms and biases.
double small_parameters(const Model& model, const Layout& layout) {
  const double width = whole(model.width), layers = whole(model.layers) / layout.pp;
  const double biases =
      model.bias ? (3 * width + whole(model.ffn)) / layout.tp + 2 * width : 0;
  return layers * ((model.bias ? 4 : 2) * width + biases) + (model.bias ? 2 : 1) * width;
}

constexpr double float_bytes = 4;
constexpr double most_logit_rows = 1024;  // of models/gpt_block.hpp

class GptPieces {
 public:
  // `at_work`: ranks.
  GptPieces(const Model& model, const Prices& prices, const Workload& workload,
            const Layout& layout, double footprint, int at_work)
      : model_(model),
        prices_(prices),
        workload_(workload),
        layout_(layout),
        device_(prices.cluster().device),
        footprint_(footprint),
        crowd_(prices.cluster()),
        at_work_(at_work),
        tp_(layout.tp),
        rows_(whole(layout.micro_batch * workload.sequence)),
        width_(whole(model.width)),
        heads_(whole(model.heads) / tp_),
        inner_(whole(model.ffn) / tp_),
        ids_(std::ceil(whole(model.vocabulary) / tp_)) {
    product_relief_ = crowd_.products(at_work_);
    stream_relief_ = crowd_.streams(at_work_);
  }

  StepPieces all() {
    StepPieces pieces;
    pieces.measured = true;
    pieces.begin = part([&] { embed(); });
    pieces.dense.forward = part([&] { layer_forward(true); });
    pieces.dense.backward = part([&] { mlp_backward(); });
    pieces.dense.mlp_backward = pieces.dense.backward.size();
    const std::vector<LayerOp> attention = part([&] { attention_backward(); });
    pieces.dense.backward.insert(pieces.dense.backward.end(), attention.begin(), attention.end());
    if (layout_.recompute == Recompute::full) {
      pieces.dense.again = part([&] { layer_forward(false); });
    }
    pieces.head = part([&] { head_both(); });
    pieces.begin_backward = part([&] { embedding_backward(); });
    const std::vector<int> counts = prices_.spread({layout_.dp, layout_.tp});
    pieces.gradients_wait = counts.size() == 1
                                ? prices_.cluster().levels[0].kind == Level::Kind::shared_memory
                                : counts.back() == 1;
    return pieces;
  }

  std::vector<LayerOp> update(double weights) {
    return part([&] {
      const double owned = weights / (layout_.zero >= 1 ? layout_.dp : 1);
      // Only the matrices are overwritten, not added to.
      stream("zeros of the gradients", "fill", positions() + small_weights(), 1);
      exchange("loss over all ranks", Operation::all_reduce, 24, {layout_.ranks(), 1});
      stream("norm of the gradient", "sum_of_squares", owned, 1);
      if (layout_.zero >= 1 || layout_.pp > 1) {
        exchange("norm over ranks", Operation::all_reduce, 8, {layout_.ranks(), 1});
      } else if (tp_ > 1) {
        exchange("norm over ranks", Operation::all_reduce, 8, {layout_.tp, 1});
      }
      stream("optimizer", "adamw", owned, 1);
      convert(weights);
    });
  }

 private:
  // Parameters of a rank.
  double small_weights() const { return small_parameters(model_, layout_); }
  double positions() const { return whole(workload_.sequence) * width_; }

  // What travels in another type is rounded, and what comes of it, all or a part, widened again: together
  // the bytes of an addition, or half of them.
  void convert(double weights) {
    if (layout_.dp == 1) return;
    const bool divided = layout_.zero >= 1;
    if (travelling_bytes(workload_.gradient_type, float_bytes) != float_bytes) {
      stream("gradients to another type and back", "add", divided ? weights / 2 : weights, 1);
    }
    if (divided && travelling_bytes(workload_.gather_type, float_bytes) != float_bytes) {
      stream("weights from another type", "add", weights / 2, 1);
    }
  }

  template <class Fill>
  std::vector<LayerOp> part(const Fill& fill) {
    ops_.clear();
    fill();
    return std::move(ops_);
  }
  LayerOp& add(LayerOp::Kind kind, const char* name, double seconds) {
    LayerOp& op = ops_.emplace_back();
    op.kind = kind;
    op.name = name;
    op.seconds = seconds;
    return op;
  }

  void product(const char* name, Form form, double m, double n, double k) {
    // The weight, or its gradient, was last touched in another step.
    const double cold =
        form == Form::tn
            ? cold_seconds_of(device_, cold_gradients, float_bytes * m * n, footprint_)
            : cold_seconds_of(device_, cold_weights, float_bytes * n * k, footprint_);
    const double seconds =
        product_relief_ * product_seconds_of(device_, workload_.type, form, m, n, k) + cold;
    LayerOp& op = add(LayerOp::Kind::product, name, seconds);
    op.flops = 2 * m * n * k;
    op.extents = fmt::format("{:.0f} x {:.0f} x {:.0f}", m, n, k);
  }
  double seconds_of(const char* kernel, double rows, double cols) const {
    return stream_relief_ * stream_seconds_of(device_, kernel, rows, cols);
  }
  void stream(const char* name, const char* kernel, double rows, double cols) {
    LayerOp& op = add(LayerOp::Kind::stream, name, seconds_of(kernel, rows, cols));
    op.extents = fmt::format("{:.0f} x {:.0f}", rows, cols);
  }
  void exchange(const char* name, Operation operation, double bytes, Group group) {
    int level = 0;
    const double seconds = prices_.collective(operation, bytes, group, &level);
    if (seconds <= 0) return;
    const double relief = crowd_.exchanges(at_work_, bytes, level);
    LayerOp& op = add(LayerOp::Kind::exchange, name, seconds * relief);
    op.relief = relief;
    op.operation = operation;
    op.bytes = bytes;
    op.group = group;
    op.level = level;
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
  }

  void attention(bool backward) {
    const double tokens = whole(workload_.sequence);
    const double count = rows_ / tokens * heads_;
    const double seconds =
        product_relief_ * attention_seconds_of(device_, workload_.type, backward, count, tokens,
                                               whole(model_.head_width));
    LayerOp& op = add(LayerOp::Kind::product, "attention", seconds);
    op.flops = (backward ? 10 : 4) * count * tokens * tokens * whole(model_.head_width) / 2;
    op.extents = fmt::format("{:.0f} heads of {:.0f} tokens", count, tokens);
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

  // To where the gradients of the MLP's products are whole.
  void mlp_backward() {
    dropout(rows_ * width_);
    linear_backward("back to the width", inner_, width_, false);
    stream("activation", "gelu_backward", rows_, inner_);
    linear_backward("MLP", width_, inner_, true);
  }

  void attention_backward() {
    const double head_columns = heads_ * whole(model_.head_width);
    stream("norm", "layer_norm_backward", rows_, width_);
    dropout(rows_ * width_);
    linear_backward("output of attention", head_columns, width_, false);
    attention(true);
    linear_backward("queries, keys, values", width_, 3 * head_columns, true);
    stream("norm", "layer_norm_backward", rows_, width_);
  }

  // The output layer in parts, forward and backward of each, between the two passes of the last norm.
  void head_both() {
    stream("final norm", "layer_norm_forward", rows_, width_);
    const double parts = std::ceil(rows_ / most_logit_rows);
    const double rows = rows_ / parts;
    for (int part = 0; part < static_cast<int>(parts); ++part) {
      product("logits", Form::nt, rows, ids_, width_);
      stream("loss", "cross_entropy_forward", rows, ids_);
      exchange("loss over tp", Operation::all_gather, 3 * float_bytes * rows * tp_, {layout_.tp, 1});
      stream("gradient of the logits", "cross_entropy_backward", rows, ids_);
      product("logits", Form::nn, rows, width_, ids_);
      join("sum of the gradient", rows);
      product("logits", Form::tn, ids_, width_, rows);
    }
    stream("zeros", "fill", rows_, width_);
    stream("final norm", "layer_norm_backward", rows_, width_);
  }

  void embedding_backward() {
    dropout(rows_ * width_);
    stream("rows of the embedding", "embedding_backward", rows_, width_);
    stream("positions", "add", rows_, width_);
  }

  const Model& model_;
  const Prices& prices_;
  const Workload& workload_;
  const Layout& layout_;
  const Device& device_;
  double footprint_;
  Crowd crowd_;
  double at_work_;
  double tp_, rows_, width_, heads_, inner_, ids_;
  double product_relief_ = 1, stream_relief_ = 1;
  std::vector<LayerOp> ops_;
};

}  // namespace

bool is_gpt(const Model& model) {
  return model.learned_positions && model.tied && !model.gated && model.experts == 0 &&
         model.kv_rank == 0 && model.ffn == 4 * model.width && model.kv_heads == model.heads;
}

bool is_measured_step(const Model& model, const Software& software, const Device& device) {
  return !device.measured.empty() && software.name == "shoal" && is_gpt(model);
}

StepPieces measured_pieces(const Model& model, const Prices& prices, const Workload& workload,
                           const Layout& layout, double footprint, int stages) {
  const int at_work = stages > 0 ? stages * layout.dp * layout.tp : layout.ranks();
  return GptPieces(model, prices, workload, layout, footprint, at_work).all();
}

std::vector<LayerOp> measured_update(const Model& model, const Prices& prices,
                                     const Workload& workload, const Layout& layout, double weights) {
  return GptPieces(model, prices, workload, layout, 0, layout.ranks()).update(weights);
}

}  // namespace shoal::planning
