#include <shoal/models/optimizer.hpp>

#include <algorithm>
#include <cmath>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/kernels/local/optimizer.hpp>
#include <shoal/runtime/trace.hpp>

namespace shoal::models {

namespace {

Index owned_elements(const Gpt& model) {
  Index elements = 0;
  for (const Block& range : model.owned()) elements += range.size;
  return elements;
}

}  // namespace

Optimizer::Optimizer(Gpt& model, const Options& options)
    : model_(model), options_(options), m_(owned_elements(model)), v_(owned_elements(model)) {
  Index moment = 0;
  for (std::size_t i = 0; i < model.owned().size(); ++i) {
    const Block& range = model.owned()[i];
    for (const ParameterGroup& group : model.groups()) {
      const Index begin = std::max(range.begin, group.begin);
      const Index end = std::min(range.end(), group.begin + group.size);
      if (begin >= end) continue;
      pieces_.push_back(
          {{begin, end - begin}, moment + begin - range.begin, i, group.sharded, group.decay});
    }
    moment += range.size;
  }
}

double Optimizer::global_norm() const {
  const float* gradients = model_.gradients().data();
  double sums[2] = {0, 0};  // of squares: of what tp divides, and of what all tp ranks have
  {
    const trace::Span span("gradient norm", trace::Category::compute);
    for (const Piece& piece : pieces_) {
      sums[piece.sharded ? 0 : 1] +=
          kernels::sum_of_squares(piece.range.size, gradients + piece.range.begin);
    }
  }
  const Mesh& mesh = model_.mesh();
  if (model_.shards_optimizer() || mesh.axis("pp").size() > 1) {
    // In one sum over all ranks, so that all clip alike to the last bit. What several have alike
    // counts once.
    if (!model_.shards_optimizer() && mesh.coordinate("dp") != 0) sums[0] = sums[1] = 0;
    if (mesh.coordinate("tp") != 0) sums[1] = 0;
    all_reduce(mesh.all(), sums, sums, 2, DType::f64, ReduceOp::sum);
  } else if (mesh.axis("tp").size() > 1) {
    all_reduce(mesh.axis("tp"), &sums[0], &sums[0], 1, DType::f64, ReduceOp::sum);
  }
  return std::sqrt(sums[0] + sums[1]);
}

double Optimizer::step(float learning_rate) {
  const double norm = global_norm();
  if (!std::isfinite(norm)) return norm;

  ++steps_;
  const float* gradients = model_.gradients().data();
  const float scale = kernels::clip_scale(norm, options_.clip);
  auto piece = pieces_.begin();
  for (std::size_t i = 0; i < model_.owned().size(); ++i) {
    for (; piece != pieces_.end() && piece->owned == i; ++piece) {
      const trace::Span span("adamw", trace::Category::compute);
      kernels::AdamW adamw;
      adamw.learning_rate = learning_rate;
      adamw.beta1 = options_.beta1;
      adamw.beta2 = options_.beta2;
      adamw.epsilon = options_.epsilon;
      adamw.weight_decay = piece->decay ? options_.weight_decay : 0.0f;
      adamw.step = steps_;
      float* const weights = model_.masters().empty()
                                 ? model_.parameters().data() + piece->range.begin
                                 : model_.masters().data() + piece->moment;
      kernels::adamw_step(adamw, piece->range.size, weights,
                          gradients + piece->range.begin, scale, m_.data() + piece->moment,
                          v_.data() + piece->moment);
    }
    model_.updated(i);
  }
  model_.finish_update();
  return norm;
}

}  // namespace shoal::models
