// The bench suite: each table has a column for the peer and one for the bound.
#pragma once

#include <string>
#include <vector>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/reduce_op.hpp>

namespace shoal::bench {

/// All-reduce against MPI_Allreduce on the same buffers.
struct AllReduceOptions {
  Bytes min_bytes = 8;
  Bytes max_bytes = Bytes{64} << 20;
  DType dtype = DType::f32;
  ReduceOp op = ReduceOp::sum;
  /// Names from the registry; "auto" is the library's own choice, "all" every one that applies.
  std::vector<std::string> algorithms = {"auto"};
  Memory memory = Memory::node_shared;
  double seconds_per_size = 0.5;  ///< time to spend on a size, about
  std::string json;               ///< file for the results; empty: none
};

/// Sizes from min_bytes to max_bytes in steps of four. Prints a row for each size and algorithm on
/// rank 0. The bound is the memory traffic: all ranks at once copy as many bytes as the buffer has.
/// Collective. Throws UsageError for options that make no sense, Error for a wrong result.
void all_reduce(const Communicator& world, const AllReduceOptions& options);

/// A product C[m×n] = A[m×k]·B[n×k]ᵀ.
struct GemmShape {
  Index m = 0, n = 0, k = 0;
  /// From "m,n,k". Throws UsageError.
  static GemmShape parse(const std::string& text);
};

/// Matrix products of one process against OpenBLAS's sgemm called directly.
struct GemmOptions {
  std::vector<std::string> types = {"fp32"};  ///< fp32, bf16, int8
  std::vector<GemmShape> shapes;              ///< empty: those of small and GPT-2 models
  double seconds_per_shape = 0.5;
  std::string json;
};

/// The bound is the peak: the best that any large product, or (fp32) a loop of fused multiply-adds
/// in registers, reached here in the same run. One rank only.
void gemm(const Communicator& world, const GemmOptions& options);

/// Training steps on random tokens.
struct TrainOptions {
  std::vector<std::string> configs = {"nano"};  ///< nano, gpt2
  std::vector<std::string> types = {"fp32"};    ///< fp32, bf16
  MeshShape mesh;
  int steps = 0;                                ///< timed steps; 0: as many as take some seconds
  std::string json;
};

/// The bound is the step's arithmetic at the rate of a large product, measured on all ranks at once.
void train(const Communicator& world, const TrainOptions& options);

/// Checkpoints while a model trains on random tokens.
struct CheckpointOptions {
  std::string config = "gpt2";               ///< nano, gpt2
  std::vector<std::string> types = {"fp32"};  ///< fp32, bf16
  MeshShape mesh;
  std::string out_dir = ".";                 ///< on the disk to measure; a new folder in it is used
  int rounds = 5;                            ///< each ten steps with a checkpoint, ten without
  std::string json;
};

/// The bound is the same ten steps without a checkpoint. Prints the cost as a share of these.
/// Collective. Throws UsageError for options that make no sense.
void checkpoint(const Communicator& world, const CheckpointOptions& options);

}  // namespace shoal::bench
