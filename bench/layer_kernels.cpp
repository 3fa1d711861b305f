#include "layer_kernels.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <random>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/kernels/local/attention.hpp>
#include <shoal/kernels/local/norm.hpp>
#include <shoal/kernels/parallel/collective_matmul.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/placement.hpp>

#include "peak.hpp"
#include "timing.hpp"
#include "train_configs.hpp"

namespace shoal::bench {
namespace {

using kernels::Trans;

Buffer<float> random_floats(Index count, Memory memory = Memory::local) {
  Buffer<float> buffer(count, memory);
  std::mt19937 random(static_cast<std::mt19937::result_type>(count));
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (float& x : buffer) x = uniform(random);
  return buffer;
}

class KernelClock {
 public:
  KernelClock(const Communicator& world, double peak, double budget)
      : world_(world), peak_(peak), budget_(budget) {}

  void time(const std::string& name, int calls, double operations, double floats,
            const std::function<void()>& call) {
    const double bytes = 4 * floats;
    const Buffer<std::byte> as_many(std::max<Index>(512, static_cast<Index>(bytes)));
    const std::array<std::function<void()>, 2> both = {
        call, [&] { read_memory(as_many.data(), static_cast<Bytes>(as_many.size())); }};
    const std::vector<double> medians = interleaved_medians(world_, both, budget_, 5, 1);
    const double arithmetic = operations / peak_ * 1e-9;
    times_.push_back({name, calls, operations, bytes, medians[0], std::max(arithmetic, medians[1]),
                      arithmetic > medians[1]});
  }

  std::vector<KernelTime> take() { return std::move(times_); }

 private:
  const Communicator& world_;
  double peak_;
  double budget_;
  std::vector<KernelTime> times_;
};

// What a linear layer of the block multiplies on one rank.
struct Products {
  const char* name;
  bool by_columns;  // its outputs are divided, not its inputs
  Index in, out;    // of this rank
};

void time_products(KernelClock& clock, const Communicator& tp, const Products& layer, Index rows,
                   bool by_rows, kernels::Precision precision) {
  const auto [name, by_columns, in, out] = layer;
  const Index mine = by_rows ? block_of(rows, tp.size(), tp.rank()).size : rows;
  const Memory memory = by_rows ? Memory::node_shared : Memory::local;
  const Index x_rows = by_columns ? mine : rows, y_rows = by_columns ? rows : mine;
  const Buffer<float> x = random_floats(x_rows * in + 1, memory);
  const Buffer<float> y = random_floats(y_rows * out + 1, memory);
  const Buffer<float> weight = random_floats(in * out);
  const double operations = 2.0 * static_cast<double>(rows * in) * static_cast<double>(out);
  const auto floats = static_cast<double>(rows * in + rows * out + in * out);
  const std::string title(name);
  clock.time(title + " forward", 1, operations, floats, [&] {
    if (!by_rows) {
      kernels::gemm(Trans::no, Trans::yes, rows, out, in, 1.0f, x.data(), in, weight.data(), in,
                    0.0f, y.data(), out, precision);
    } else if (by_columns) {
      kernels::all_gather_matmul(tp, rows, out, in, x.data(), Trans::yes, weight.data(), y.data(),
                                 precision);
    } else {
      kernels::matmul_reduce_scatter(tp, rows, out, in, x.data(), Trans::yes, weight.data(),
                                     y.data(), precision);
    }
  });
  const Buffer<float> dx(x.size(), memory);
  clock.time(title + " backward, input", 1, operations, floats, [&] {
    if (!by_rows) {
      kernels::gemm(Trans::no, Trans::no, rows, in, out, 1.0f, y.data(), out, weight.data(), in,
                    0.0f, dx.data(), in, precision);
    } else if (by_columns) {
      kernels::matmul_reduce_scatter(tp, rows, in, out, y.data(), Trans::no, weight.data(),
                                     dx.data(), precision);
    } else {
      kernels::all_gather_matmul(tp, rows, in, out, y.data(), Trans::no, weight.data(), dx.data(),
                                 precision);
    }
  });
  const Buffer<float> dweight(in * out);
  clock.time(title + " backward, weight", 1, operations, floats, [&] {
    if (!by_rows) {
      kernels::gemm(Trans::yes, Trans::no, out, in, rows, 1.0f, y.data(), out, x.data(), in, 0.0f,
                    dweight.data(), in, precision);
    } else {
      kernels::gathered_product(
          tp, by_columns ? kernels::Gathered::right : kernels::Gathered::left, rows, out, in,
          y.data(), x.data(), 0.0f, dweight.data(), precision);
    }
  });
}

void time_attention(KernelClock& clock, const LayerShape& shape, Index local_heads,
                    kernels::Precision precision) {
  kernels::AttentionShape heads;
  heads.batch = shape.batch;
  heads.time = shape.sequence;
  heads.heads = local_heads;
  heads.head_dim = shape.width / shape.heads;
  const Index rows = shape.batch * shape.sequence, width = heads.heads * heads.head_dim;
  const Buffer<float> qkv = random_floats(rows * 3 * width), dout = random_floats(rows * width);
  const Buffer<float> out(rows * width), dqkv(rows * 3 * width);
  const Buffer<float> log_sum_exp(shape.batch * heads.heads * shape.sequence);
  // Each product of a head, over the keys up to a query's own.
  const double product = static_cast<double>(rows * width) * static_cast<double>(shape.sequence + 1);
  clock.time("attention forward", 1, 2 * product, static_cast<double>(4 * rows * width), [&] {
    kernels::causal_attention_forward(heads, qkv.data(), out.data(), log_sum_exp.data(), {},
                                      precision);
  });
  clock.time("attention backward", 1, 5 * product, static_cast<double>(8 * rows * width), [&] {
    kernels::causal_attention_backward(heads, qkv.data(), out.data(), log_sum_exp.data(),
                                       dout.data(), dqkv.data(), {}, precision);
  });
}

void time_elements(KernelClock& clock, const Communicator& tp, const LayerShape& shape,
                   bool by_rows) {
  const Index rows = shape.batch * shape.sequence, width = shape.width;
  const Index mine = by_rows ? block_of(rows, tp.size(), tp.rank()).size : rows;
  const Index mlp = block_of(4 * width, tp.size(), tp.rank()).size;
  const Buffer<float> x = random_floats(mine * width), dy = random_floats(mine * width);
  const Buffer<float> y(mine * width), mean(mine), rstd(mine), vector = random_floats(4 * width);
  const Buffer<float> dgain(width), dbias(4 * width);
  const auto n = static_cast<double>(mine * width), of_mlp = static_cast<double>(rows * mlp);
  clock.time("layer norm forward", 2, 8 * n, 2 * n, [&] {
    kernels::layer_norm_forward(mine, width, x.data(), vector.data(), vector.data(), 1e-5f,
                                y.data(), mean.data(), rstd.data());
  });
  clock.time("layer norm backward", 2, 14 * n, 4 * n, [&] {
    kernels::layer_norm_backward(mine, width, x.data(), vector.data(), mean.data(), rstd.data(),
                                 dy.data(), y.data(), dgain.data(), dbias.data());
  });
  const Buffer<float> before = random_floats(rows * mlp), after(rows * mlp);
  clock.time("bias and GELU forward", 1, 16 * of_mlp, 3 * of_mlp, [&] {
    kernels::bias_gelu_forward(rows, mlp, before.data(), vector.data(), after.data());
  });
  clock.time("GELU backward", 1, 24 * of_mlp, 3 * of_mlp, [&] {
    kernels::gelu_backward(rows * mlp, before.data(), after.data(), after.data());
  });
  clock.time("bias and residual", 2, 2 * n, 3 * n, [&] {
    kernels::bias_residual(mine, width, x.data(), dy.data(), vector.data(), y.data());
  });
  clock.time("gradient of an output's bias", 2, n, n,
             [&] { kernels::bias_gradient(mine, width, dy.data(), dbias.data()); });
  clock.time("gradient of the MLP's bias", 1, of_mlp, of_mlp,
             [&] { kernels::bias_gradient(rows, mlp, before.data(), dbias.data()); });
  if (tp.size() == 1) return;
  const Buffer<float> sum(by_rows ? 4 * width : rows * width, Memory::node_shared);
  const auto summed = static_cast<double>(sum.size());
  clock.time(by_rows ? "all-reduce, norms and biases" : "all-reduce", by_rows ? 3 : 4, summed,
             summed, [&] { all_reduce(tp, sum.span(), ReduceOp::sum); });
}

}  // namespace

std::vector<KernelTime> layer_kernels(const Communicator& world, const Communicator& tp,
                                      const LayerShape& shape, kernels::Activations activations,
                                      double peak, double seconds_per_kernel) {
  KernelClock clock(world, peak, seconds_per_kernel);
  const bool by_rows = activations == kernels::Activations::by_rows && tp.size() > 1;
  const kernels::Precision precision = train_precision(shape.type);
  const Index local_heads = block_of(shape.heads, tp.size(), tp.rank()).size;
  const Index inner = local_heads * (shape.width / shape.heads);
  const Index mlp = block_of(4 * shape.width, tp.size(), tp.rank()).size;
  for (const Products& layer : {Products{"q, k, v", true, shape.width, 3 * inner},
                                Products{"projection", false, inner, shape.width},
                                Products{"MLP in", true, shape.width, mlp},
                                Products{"MLP out", false, mlp, shape.width}}) {
    time_products(clock, tp, layer, shape.batch * shape.sequence, by_rows, precision);
  }
  time_attention(clock, shape, local_heads, precision);
  time_elements(clock, tp, shape, by_rows);
  return clock.take();
}

}  // namespace shoal::bench
