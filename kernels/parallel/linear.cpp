#include <shoal/kernels/parallel/linear.hpp>

#include <algorithm>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/kernels/parallel/collective_matmul.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/trace.hpp>

namespace shoal::kernels {
namespace {

using trace::Category;
using trace::Span;

void sum_over(const Communicator& group, float* data, Index count) {
  if (group.size() > 1) all_reduce(group, data, data, count, DType::f32, ReduceOp::sum);
}

void product(Index rows, Index in, Index out, const float* x, const float* weight, float* y,
             Precision precision) {
  const Span span("linear forward", Category::compute);
  gemm(Trans::no, Trans::yes, rows, out, in, 1.0f, x, in, weight, in, 0.0f, y, out, precision);
}

void input_gradient(Index rows, Index in, Index out, const float* dy, const float* weight,
                    float* dx, Precision precision) {
  const Span span("linear backward: input", Category::compute);
  gemm(Trans::no, Trans::no, rows, in, out, 1.0f, dy, out, weight, in, 0.0f, dx, in, precision);
}

void sum_bias_gradient(Index rows, Index out, const float* dy, float* dbias, Gradients gradients) {
  if (dbias == nullptr) return;
  if (gradients == Gradients::overwrite) std::fill_n(dbias, out, 0.0f);
  bias_gradient(rows, out, dy, dbias);
}

void weight_gradient(Index rows, Index in, Index out, const float* x, const float* dy,
                     float* dweight, float* dbias, Gradients gradients, Precision precision) {
  const Span span("linear backward: weight", Category::compute);
  const bool add = gradients == Gradients::add;
  gemm(Trans::yes, Trans::no, out, in, rows, 1.0f, dy, out, x, in, add ? 1.0f : 0.0f, dweight, in,
       precision);
  sum_bias_gradient(rows, out, dy, dbias, gradients);
}

}  // namespace

ColumnParallelLinear::ColumnParallelLinear(const Communicator& group, Index in, Index local_out,
                                           Precision precision, Activations activations)
    : group_(&group),
      in_(in),
      out_(local_out),
      precision_(precision),
      activations_(group.size() > 1 ? activations : Activations::whole) {}

void ColumnParallelLinear::forward(Index rows, const float* x, const float* weight,
                                   const float* bias, float* y) const {
  if (activations_ == Activations::by_rows) {
    all_gather_matmul(*group_, rows, out_, in_, x, Trans::yes, weight, y, precision_);
  } else {
    product(rows, in_, out_, x, weight, y, precision_);
  }
  if (bias != nullptr) add_bias(rows, out_, y, bias);
}

void ColumnParallelLinear::backward(Index rows, const float* x, const float* weight,
                                    const float* dy, float* dx, float* dweight, float* dbias,
                                    Gradients gradients) const {
  if (activations_ == Activations::by_rows) {
    if (dx != nullptr) {
      matmul_reduce_scatter(*group_, rows, in_, out_, dy, Trans::no, weight, dx, precision_);
    }
    gathered_product(*group_, Gathered::right, rows, out_, in_, dy, x,
                     gradients == Gradients::add ? 1.0f : 0.0f, dweight, precision_);
    sum_bias_gradient(rows, out_, dy, dbias, gradients);
    return;
  }
  if (dx != nullptr) {
    input_gradient(rows, in_, out_, dy, weight, dx, precision_);
    sum_over(*group_, dx, rows * in_);
  }
  weight_gradient(rows, in_, out_, x, dy, dweight, dbias, gradients, precision_);
}

Index RowParallelLinear::local_rows(Index rows) const {
  return block_of(rows, group_->size(), group_->rank()).size;
}

RowParallelLinear::RowParallelLinear(const Communicator& group, Index local_in, Index out,
                                     Precision precision, Activations activations)
    : group_(&group),
      in_(local_in),
      out_(out),
      precision_(precision),
      activations_(group.size() > 1 ? activations : Activations::whole) {}

void RowParallelLinear::forward(Index rows, const float* x, const float* weight, const float* bias,
                                float* y) const {
  if (activations_ == Activations::by_rows) {
    matmul_reduce_scatter(*group_, rows, out_, in_, x, Trans::yes, weight, y, precision_);
    if (bias != nullptr) add_bias(local_rows(rows), out_, y, bias);
    return;
  }
  product(rows, in_, out_, x, weight, y, precision_);
  sum_over(*group_, y, rows * out_);
  if (bias != nullptr) add_bias(rows, out_, y, bias);
}

void RowParallelLinear::backward(Index rows, const float* x, const float* weight, const float* dy,
                                 float* dx, float* dweight, float* dbias,
                                 Gradients gradients) const {
  if (activations_ == Activations::by_rows) {
    all_gather_matmul(*group_, rows, in_, out_, dy, Trans::no, weight, dx, precision_);
    gathered_product(*group_, Gathered::left, rows, out_, in_, dy, x,
                     gradients == Gradients::add ? 1.0f : 0.0f, dweight, precision_);
    if (dbias == nullptr) return;
    const Buffer<float> total(out_, Memory::node_shared);
    bias_gradient(local_rows(rows), out_, dy, total.data());
    sum_over(*group_, total.data(), out_);
    if (gradients == Gradients::overwrite) {
      std::copy(total.begin(), total.end(), dbias);
    } else {
      add(out_, dbias, total.data(), dbias);
    }
    return;
  }
  input_gradient(rows, in_, out_, dy, weight, dx, precision_);
  weight_gradient(rows, in_, out_, x, dy, dweight, dbias, gradients, precision_);
}

}  // namespace shoal::kernels
