// Linear layers whose weight matrix is divided over the ranks of a tensor-parallel group, after
// Shoeybi et al. 2019 (Megatron-LM): a column-parallel layer followed by a row-parallel one needs a
// single all-reduce forward and a single one backward.
//
// All matrices are dense, row-major, single precision. A weight has one row for each output, so
// that y = x·Wᵀ + bias. Matrices that are summed over the group (marked so) should live in
// node-shared Buffers: they are then reduced where they lie.
#pragma once

#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// How activations lie between parallel layers. `whole`: every rank has all rows. `by_rows`: rank r has
/// block_of(rows, ranks, r) of them (sequence parallelism, Korthikanti et al. 2022), so that norms and
/// residuals between the layers are divided, too, and what would be an all-reduce is an all-gather before
/// one product and a reduce-scatter after another, both part of the product (collective_matmul.hpp).
enum class Activations { whole, by_rows };

/// What a backward does to the gradients of weights and biases: adds to what is there, or writes
/// without reading it. The first of a step overwrites: adding to zeros costs a pass to write them and
/// another to read them.
enum class Gradients { add, overwrite };

/// Each rank has some of the outputs: W is divided along its rows, x is whole on every rank, y holds
/// this rank's outputs. With Activations::by_rows x and dx have this rank's rows only (`rows` counts all),
/// and should live in node-shared Buffers.
class ColumnParallelLinear {
 public:
  /// `in`: inputs of the whole layer. `local_out`: outputs that this rank has. `group` must outlive
  /// the layer.
  ColumnParallelLinear(const Communicator& group, Index in, Index local_out, Precision precision,
                       Activations activations = Activations::whole);

  /// y[rows, local_out] = x[rows, in]·Wᵀ + bias. `bias`: [local_out], or null. No communication.
  void forward(Index rows, const float* x, const float* weight, const float* bias, float* y) const;

  /// `dx`[rows, in] (written; summed over the group) = dy·W; null, on every rank, where nobody needs it,
  /// and then nothing is communicated (a rank without rows of its own passes any other pointer). `dweight`[local_out, in] and `dbias`[local_out] (null without bias)
  /// are added to or written, as `gradients` says.
  void backward(Index rows, const float* x, const float* weight, const float* dy, float* dx,
                float* dweight, float* dbias, Gradients gradients = Gradients::add) const;

 private:
  const Communicator* group_;
  Index in_;
  Index out_;
  Precision precision_;
  Activations activations_;
};

/// Each rank has some of the inputs: W is divided along its columns, x holds this rank's inputs, y is
/// whole on every rank. With Activations::by_rows y and dy have this rank's rows only (`rows` counts all),
/// and should live in node-shared Buffers; dbias is that of all rows on every rank.
class RowParallelLinear {
 public:
  /// `local_in`: inputs that this rank has. `out`: outputs of the whole layer. `group` must outlive
  /// the layer.
  RowParallelLinear(const Communicator& group, Index local_in, Index out, Precision precision,
                    Activations activations = Activations::whole);

  /// y[rows, out] (summed over the group) = x[rows, local_in]·Wᵀ + bias. `bias`: [out], the same on
  /// every rank, or null.
  void forward(Index rows, const float* x, const float* weight, const float* bias, float* y) const;

  /// `dx`[rows, local_in] (written) = dy·W. `dy` is the same on every rank. `dweight`[out, local_in]
  /// and `dbias`[out] (null without bias) are added to or written. No communication.
  void backward(Index rows, const float* x, const float* weight, const float* dy, float* dx,
                float* dweight, float* dbias, Gradients gradients = Gradients::add) const;

 private:
  Index local_rows(Index rows) const;

  const Communicator* group_;
  Index in_;
  Index out_;
  Precision precision_;
  Activations activations_;
};

}  // namespace shoal::kernels
