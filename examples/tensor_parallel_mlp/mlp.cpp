// A block of two linear layers, y = W2 gelu(W1 x), whose matrices are divided over the ranks after
// Megatron-LM (Shoeybi et al. 2019): W1 by its rows, W2 by its columns, so that a pass forward and a pass
// backward cost one all-reduce each. It is trained, and every rank also trains the whole block alone to
// see that it learns the same.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/kernels/parallel/linear.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/runtime.hpp>

namespace {

using shoal::Index;
namespace kernels = shoal::kernels;

constexpr Index rows = 32;     // samples of a batch
constexpr Index width = 48;    // of x and y
constexpr Index hidden = 192;  // divided over the ranks, which need not divide it
using Floats = std::vector<float>;

// The block over the ranks of `tp`, which may be one.
class Mlp {
 public:
  Mlp(const shoal::Communicator& tp, const Floats& first, const Floats& second)
      : units_(shoal::block_of(hidden, tp.size(), tp.rank())),
        up_(tp, width, units_.size, kernels::Precision::fp32),
        down_(tp, units_.size, width, kernels::Precision::fp32),
        w1_(first.begin() + units_.begin * width, first.begin() + units_.end() * width),
        w2_(static_cast<std::size_t>(width * units_.size)),
        h_(static_cast<std::size_t>(rows * units_.size)),
        y_(rows * width, shoal::Memory::node_shared),
        dx_(rows * width, shoal::Memory::node_shared) {
    for (Index out = 0; out < width; ++out) {
      std::copy_n(&second[out * hidden + units_.begin], units_.size, &w2_[out * units_.size]);
    }
    a_ = dh_ = h_;
    dw1_ = w1_, dw2_ = w2_;
  }

  // One step of gradient descent towards y = target; the loss before it.
  double step(const Floats& x, const Floats& target, float rate) {
    up_.forward(rows, x.data(), w1_.data(), nullptr, h_.data());
    kernels::gelu_forward(rows * units_.size, h_.data(), a_.data());
    down_.forward(rows, a_.data(), w2_.data(), nullptr, y_.data());  // sums over the ranks

    double loss = 0;
    Floats dy(target.size());
    for (std::size_t i = 0; i < dy.size(); ++i) {
      const float error = y_[static_cast<Index>(i)] - target[i];
      loss += error * error;
      dy[i] = 2 * error / rows;
    }
    constexpr auto overwrite = kernels::Gradients::overwrite;
    down_.backward(rows, a_.data(), w2_.data(), dy.data(), dh_.data(), dw2_.data(), nullptr, overwrite);
    kernels::gelu_backward(rows * units_.size, h_.data(), dh_.data(), dh_.data());
    up_.backward(rows, x.data(), w1_.data(), dh_.data(), dx_.data(), dw1_.data(), nullptr, overwrite);
    for (std::size_t i = 0; i < w1_.size(); ++i) w1_[i] -= rate * dw1_[i];
    for (std::size_t i = 0; i < w2_.size(); ++i) w2_[i] -= rate * dw2_[i];
    return loss / rows;
  }

  float dx(Index i) const { return dx_[i]; }

 private:
  shoal::Block units_;
  kernels::ColumnParallelLinear up_;
  kernels::RowParallelLinear down_;
  Floats w1_, w2_, h_, a_, dh_, dw1_, dw2_;
  shoal::Buffer<float> y_, dx_;
};

Floats random(Index count, float scale, std::mt19937& numbers) {
  std::normal_distribution<float> normal(0, scale);
  Floats values(static_cast<std::size_t>(count));
  std::ranges::generate(values, [&] { return normal(numbers); });
  return values;
}

}  // namespace

int main() {
  return shoal::run_main({}, [](shoal::Runtime& runtime) {
    const shoal::Mesh mesh(runtime.world(), {{{"tp", runtime.world().size()}}});
    const shoal::Communicator& tp = mesh.axis("tp");

    std::mt19937 numbers(1);  // the same numbers on all ranks
    const Floats first = random(hidden * width, 0.15f, numbers);
    const Floats second = random(width * hidden, 0.08f, numbers);
    const Floats x = random(rows * width, 1, numbers);
    const Floats target = random(rows * width, 1, numbers);
    Mlp divided(tp, first, second);
    Mlp whole(mesh.axis("alone"), first, second);  // an axis that the mesh does not have: this rank

    double begin = 0;
    double end = 0;
    double difference = 0;
    for (int step = 0; step < 50; ++step) {
      end = divided.step(x, target, 0.05f);
      const double alone = whole.step(x, target, 0.05f);
      if (step == 0) begin = end;
      difference = std::max(difference, std::abs(end - alone) / alone);
      for (Index i = 0; i < rows * width; ++i) {
        difference = std::max(difference, std::abs(static_cast<double>(divided.dx(i)) - whole.dx(i)));
      }
    }
    shoal::all_reduce(tp, std::span(&difference, 1), shoal::ReduceOp::max);
    if (tp.rank() == 0) {
      std::printf("%d ranks: loss %.1f to %.1f, %s\n", tp.size(), begin, end,
                  difference < 1e-3 ? "as one rank alone" : "unlike one rank alone");
    }
    return difference < 1e-3 && end < begin ? 0 : 1;
  });
}
