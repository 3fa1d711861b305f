#include <shoal/kernels/parallel/linear.hpp>

#include <algorithm>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/kernels/local/activation.hpp>
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

void weight_gradient(Index rows, Index in, Index out, const float* x, const float* dy,
                     float* dweight, float* dbias, Gradients gradients, Precision precision) {
  const Span span("linear backward: weight", Category::compute);
  const bool add = gradients == Gradients::add;
  gemm(Trans::yes, Trans::no, out, in, rows, 1.0f, dy, out, x, in, add ? 1.0f : 0.0f, dweight, in,
       precision);
  if (dbias == nullptr) return;
  if (!add) std::fill_n(dbias, out, 0.0f);
  bias_gradient(rows, out, dy, dbias);
}

}  // namespace

ColumnParallelLinear::ColumnParallelLinear(const Communicator& group, Index in, Index local_out,
                                           Precision precision)
    : group_(&group), in_(in), out_(local_out), precision_(precision) {}

void ColumnParallelLinear::forward(Index rows, const float* x, const float* weight,
                                   const float* bias, float* y) const {
  product(rows, in_, out_, x, weight, y, precision_);
  if (bias != nullptr) add_bias(rows, out_, y, bias);
}

void ColumnParallelLinear::backward(Index rows, const float* x, const float* weight,
                                    const float* dy, float* dx, float* dweight, float* dbias,
                                    Gradients gradients) const {
  if (dx != nullptr) {
    input_gradient(rows, in_, out_, dy, weight, dx, precision_);
    sum_over(*group_, dx, rows * in_);
  }
  weight_gradient(rows, in_, out_, x, dy, dweight, dbias, gradients, precision_);
}

RowParallelLinear::RowParallelLinear(const Communicator& group, Index local_in, Index out,
                                     Precision precision)
    : group_(&group), in_(local_in), out_(out), precision_(precision) {}

void RowParallelLinear::forward(Index rows, const float* x, const float* weight, const float* bias,
                                float* y) const {
  product(rows, in_, out_, x, weight, y, precision_);
  sum_over(*group_, y, rows * out_);
  if (bias != nullptr) add_bias(rows, out_, y, bias);
}

void RowParallelLinear::backward(Index rows, const float* x, const float* weight, const float* dy,
                                 float* dx, float* dweight, float* dbias,
                                 Gradients gradients) const {
  input_gradient(rows, in_, out_, dy, weight, dx, precision_);
  weight_gradient(rows, in_, out_, x, dy, dweight, dbias, gradients, precision_);
}

}  // namespace shoal::kernels
