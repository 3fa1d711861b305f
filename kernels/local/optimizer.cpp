#include <shoal/kernels/local/optimizer.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/isa.hpp>

#include "optimizer_kernels.hpp"
#include "threads.hpp"

namespace shoal::kernels {
namespace {

const OptimizerKernels& kernels() { return SHOAL_SELECT_KERNELS(optimizer_kernels); }

}  // namespace

void adamw_step(const AdamW& adamw, Index n, float* params, const float* grads, float grad_scale,
                float* m, float* v) {
  if (adamw.step < 1) {
    throw Error("adamw_step", "step " + std::to_string(adamw.step) + " is below 1",
                "count steps from 1");
  }
  const double steps = static_cast<double>(adamw.step);
  const double lr = adamw.learning_rate;
  const double bias1 = 1.0 - std::pow(static_cast<double>(adamw.beta1), steps);
  const double bias2 = 1.0 - std::pow(static_cast<double>(adamw.beta2), steps);
  AdamWConstants k;
  k.beta1 = adamw.beta1;
  k.beta2 = adamw.beta2;
  k.one_minus_beta1 = static_cast<float>(1.0 - static_cast<double>(adamw.beta1));
  k.one_minus_beta2 = static_cast<float>(1.0 - static_cast<double>(adamw.beta2));
  k.decay = static_cast<float>(1.0 - lr * static_cast<double>(adamw.weight_decay));
  k.step_size = static_cast<float>(lr / bias1);
  k.inv_sqrt_bias2 = static_cast<float>(1.0 / std::sqrt(bias2));
  k.epsilon = adamw.epsilon;
  k.grad_scale = grad_scale;
  parallel_ranges(n, element_align, element_grain, [&](Index begin, Index end) {
    kernels().adamw(k, end - begin, params + begin, grads + begin, m + begin, v + begin);
  });
}

double sum_of_squares(Index n, const float* x) {
  constexpr Index block = 16384;
  const Index blocks = (n + block - 1) / block;
  std::vector<double> sums(static_cast<std::size_t>(std::max<Index>(0, blocks)));
  parallel_ranges(blocks, 1, 2, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) {
      sums[static_cast<std::size_t>(b)] =
          kernels().sum_of_squares(std::min(block, n - b * block), x + b * block);
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

float clip_scale(double norm, float max_norm) {
  if (!std::isfinite(norm)) return std::numeric_limits<float>::quiet_NaN();
  if (max_norm <= 0) return 1.0f;
  return static_cast<float>(std::min(1.0, static_cast<double>(max_norm) / (norm + 1e-6)));
}

}  // namespace shoal::kernels
