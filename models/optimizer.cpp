#include <shoal/models/optimizer.hpp>

#include <cmath>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/kernels/local/optimizer.hpp>
#include <shoal/runtime/trace.hpp>

namespace shoal::models {

Optimizer::Optimizer(Gpt& model, const Options& options)
    : model_(model),
      options_(options),
      m_(static_cast<Index>(model.parameters().size())),
      v_(static_cast<Index>(model.parameters().size())) {}

double Optimizer::step(float learning_rate) {
  const float* gradients = model_.gradients().data();
  double sharded = 0;
  double whole = 0;
  {
    const trace::Span span("gradient norm", trace::Category::compute);
    for (const ParameterGroup& group : model_.groups()) {
      (group.sharded ? sharded : whole) +=
          kernels::sum_of_squares(group.size, gradients + group.begin);
    }
  }
  const Communicator& tp = model_.mesh().axis("tp");
  if (tp.size() > 1) all_reduce(tp, &sharded, &sharded, 1, DType::f64, ReduceOp::sum);
  const double norm = std::sqrt(sharded + whole);
  if (!std::isfinite(norm)) return norm;

  ++steps_;
  const trace::Span span("adamw", trace::Category::compute);
  const float scale = kernels::clip_scale(norm, options_.clip);
  for (const ParameterGroup& group : model_.groups()) {
    kernels::AdamW adamw;
    adamw.learning_rate = learning_rate;
    adamw.beta1 = options_.beta1;
    adamw.beta2 = options_.beta2;
    adamw.epsilon = options_.epsilon;
    adamw.weight_decay = group.decay ? options_.weight_decay : 0.0f;
    adamw.step = steps_;
    kernels::adamw_step(adamw, group.size, model_.parameters().data() + group.begin,
                        gradients + group.begin, scale, m_.data() + group.begin,
                        v_.data() + group.begin);
  }
  return norm;
}

}  // namespace shoal::models
