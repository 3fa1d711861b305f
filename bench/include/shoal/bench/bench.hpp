// The bench suite: each table has a column for the peer and one for the bound.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <shoal/collectives/tuning.hpp>
#include <shoal/planning/profile.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/reduce_op.hpp>

namespace shoal::bench {

/// Collectives against the MPI library's own on the same buffers, and against other libraries.
struct CollectivesOptions {
  /// Names of operations (registry.hpp); "all" is every one.
  std::vector<std::string> operations = {"all"};
  Bytes min_bytes = 8;
  Bytes max_bytes = Bytes{64} << 20;
  Bytes step = 4;  ///< from a size to the next, as a factor of at least 2
  /// All-reduces only: the output is the input. Rows of other operations are as without.
  bool in_place = false;
  DType dtype = DType::f32;
  ReduceOp op = ReduceOp::sum;
  /// Names from the registry; "auto" is the library's own choice, "reproducible" that for
  /// CollectiveOptions::reproducible, "all" these two and every algorithm that applies.
  std::vector<std::string> algorithms = {"all"};
  Memory memory = Memory::node_shared;
  double seconds_per_size = 0.5;  ///< time to spend on a size, about
  /// "gloo", "mpich": beside MPI, where they are installed; "auto" is both, "none" neither.
  std::vector<std::string> peers = {"none"};
  /// Of a link between nodes, in bytes a second and one direction; 0: measured.
  double link_bytes_per_second = 0;
  std::string json;  ///< file for the results; empty: none
  std::string plot;  ///< file for a picture of them, SVG or PNG by its ending; empty: none
};

/// Sizes from min_bytes to max_bytes; a size is that of the longer of input and output. Prints a row for each operation, size and algorithm on rank 0. The bound is what cannot be
/// avoided: all ranks at once read and write as much memory as the operation must (measured, in turns
/// with the rest), and between nodes the bytes that must cross a node's link. Results are checked.
/// Collective. Throws UsageError for options that make no sense, Error for a wrong result.
void collectives(const Communicator& world, const CollectivesOptions& options);

/// A product C[m×n] = A[m×k]·B[n×k]ᵀ.
struct GemmShape {
  Index m = 0, n = 0, k = 0;
  /// From "m,n,k". Throws UsageError.
  static GemmShape parse(const std::string& text);
};

/// Matrix products of one process against OpenBLAS (fp32) and oneDNN (bf16, int8) called directly.
struct KernelsOptions {
  /// fp32, bf16 (operands in fp32), bf16s (stored in bf16), int8, bf16x2, bf16x3.
  std::vector<std::string> types = {"fp32"};
  std::vector<GemmShape> shapes;  ///< empty: squares, GPT-2's, and some of few rows
  double seconds_per_shape = 0.5;
  std::string json;
};

/// The bound is the longer of the arithmetic at the peak, which is the best that a loop in registers or
/// any large product reached here in the same run, and of reading the weights once, measured in turns
/// with the rest. Results are checked. One rank only. Throws UsageError for a type there is not.
void kernels(const Communicator& world, const KernelsOptions& options);

/// Products of matrices that are divided by rows over all ranks.
struct MatmulOptions {
  std::vector<std::string> types = {"fp32"};  ///< fp32, bf16
  std::vector<Index> sizes = {1024, 2048, 4096};
  std::string algorithm;  ///< as in kernels::MatmulOptions; empty: the library's choice
  Memory memory = Memory::node_shared;
  int rounds = 5;         ///< of which the medians are
  std::string json;
};

/// The bound is one process with the cores of all ranks, measured in turns: E is the speed over its. The
/// peer is ScaLAPACK, in fp32, where it is installed. Results are checked. Collective; on one node. Throws
/// UsageError for options that make no sense, Error for a wrong result.
void matmul(const Communicator& world, const MatmulOptions& options);

/// A transformer block of GPT-2's form, forward and backward, divided over the ranks.
struct LayerOptions {
  std::vector<Index> widths = {768, 2048};
  Index heads = 0;                              ///< 0: one for each 64 columns
  Index batch = 4;                              ///< sequences, over all dp ranks
  Index sequence = 256;                         ///< tokens of each
  std::vector<std::string> types = {"fp32"};    ///< fp32, bf16
  MeshShape mesh;
  std::string activations = "whole";            ///< between the layers: whole, by_rows
  std::string peer = "auto";                    ///< torch, auto, none
  bool kernels = false;                         ///< also each kernel of the block by itself
  int rounds = 7;                               ///< of which the medians are
  std::string json;
};

/// The bound is the arithmetic at the peak, which is the best that a loop in registers or a large product
/// reached on all ranks in the same run. E is the speed over that of one process with the cores of all
/// ranks, measured in turns. The peer is PyTorch with as many threads in a process of its own. Of a
/// kernel the bound is the longer of its arithmetic and of reading as many bytes. Results are checked
/// against the one process's. Collective; on one node. Throws UsageError for options that make no sense,
/// Error for a wrong result.
void layer(const Communicator& world, const LayerOptions& options);

/// Training steps on random tokens.
struct TrainOptions {
  std::vector<std::string> configs = {"nano"};  ///< nano, small, gpt2, gpt2-512
  std::vector<std::string> types = {"fp32"};    ///< fp32, bf16
  std::vector<MeshShape> meshes;                ///< one after the other
  Index batch_size = 0;                         ///< sequences of a step; 0: the configuration's
  /// Parts of a step, which must divide it. 0: on a mesh with stages as many as eight for each, as far as
  /// the batch has them with 256 tokens a replica or more, but one for each stage; otherwise one.
  Index micro_batches = 1;
  bool sequence_parallel = false;               ///< as in models::MemorySavings
  bool shard_optimizer = false;                 ///< likewise
  std::string gradient_type = "fp32";           ///< fp32 or bf16, as in models::Traffic
  std::string gather_type = "fp32";             ///< likewise, of weights
  int warm_up = 0;                              ///< steps before these; 0: the configuration's
  int steps = 0;                                ///< timed steps; 0: as many as take some seconds
  /// Also measure how much of the sum of gradients hides behind the backward pass: with the steps of
  /// each rank alone on its share of the batch, and the sum alone. Where dp divides all ranks.
  bool overlap = false;
  std::string json;
};

/// The bound is the step's arithmetic at the rate of a large product, measured on all ranks at once. Between
/// nodes also the bytes that a node's network devices have sent, and everywhere the time of processors.
void train(const Communicator& world, const TrainOptions& options);

/// Checkpoints while a model trains on random tokens.
struct CheckpointOptions {
  std::string config = "gpt2";               ///< nano, small, gpt2, gpt2-512
  std::vector<std::string> types = {"fp32"};  ///< fp32, bf16
  MeshShape mesh;
  std::string out_dir = ".";                 ///< on the disk to measure; a new folder in it is used
  int rounds = 5;                            ///< each ten steps with a checkpoint, ten without
  std::string json;
};

/// Prints what a checkpoint costs as a share of the same ten steps without, and as the bound what the
/// disk alone takes: from a computation in registers, while as many bytes are written.
/// Collective. Throws UsageError for options that make no sense.
void checkpoint(const Communicator& world, const CheckpointOptions& options);

/// Prints what the start of the ranks of `world` has cost, and what memory (the proportional share, PSS)
/// and threads each has then, after a few collectives, and after two steps of a tiny GPT: dp=N/2,tp=2.
/// `json`: a file for the results; empty: none. Collective. Throws Error if a result is wrong.
void start(const Communicator& world, const std::string& json);

/// What a tuning table is measured for.
struct TuneOptions {
  Bytes max_bytes = Bytes{16} << 20;  ///< largest size, where it does not take too long
  double seconds_per_size = 0.03;     ///< for an algorithm at a size, about
  /// Called on rank 0 as the work goes on: steps done, of how many, and what is measured now.
  std::function<void(int, int, const std::string&)> progress;
};

/// Measures the ranks of `world`: the figures of the cost model within a node and between nodes, the
/// parameters, and for groups of 2, 4, 8, ... ranks on one node and of 2, 4, 8, ... nodes the times of
/// all algorithms of all operations by size. Collective; the result is whole on rank 0. Throws
/// UsageError if there is one rank only.
TuningTable tune(const Communicator& world, const TuneOptions& options);

/// How a profile is measured.
struct ProfileOptions {
  std::vector<std::string> types = {"fp32", "bf16"};  ///< of products
  double seconds_a_point = 0.006;                     ///< for a kernel at a shape, about
  bool quick = false;  ///< in a second or two, three points an axis
  /// Called on rank 0 as the work goes on: steps done, of about how many, and what is measured now.
  std::function<void(int, int, const std::string&)> progress;
};

/// Measures the ranks of `world`, all at once: what each of Shoal's kernels takes by shape, what
/// collectives take in shared memory by size and number of ranks, and messages between nodes by size,
/// alone and beside a computation. The profile that `shoal plan --cluster FILE` takes. Collective; the
/// same on all ranks. Throws UsageError if nodes have different numbers of ranks.
planning::Cluster profile(const Communicator& world, const ProfileOptions& options);

/// The planner against the machine: what was measured, and what it had predicted.
struct PlanCheck {
  struct Row {
    std::string kind;    ///< "collective", "product", "layer", "step"
    std::string what;
    bool fitted = false;  ///< the profile holds this very measurement
    double measured = 0, predicted = 0;  ///< seconds; predicted for the condition of that moment
    double as_tuned = 0;                 ///< seconds predicted by the profile as it is
    /// How many times as long or as short a probe of what it consists of (products and sums, or
    /// sums and barriers) took after the measurement as before it.
    double apart = 1;
    bool otherwise = false;  ///< so far apart that the machine changed meanwhile
    int tries = 1;       ///< that count; of their measurements over predictions this is the middle
    double scatter = 1;  ///< how many times as large the largest of those is as the smallest
    double error() const noexcept;           ///< predicted / measured − 1
    double error_as_tuned() const noexcept;  ///< as_tuned / measured − 1
  };
  /// The mesh that a model should take, against the quickest.
  struct Choice {
    std::string model, planned, best;
    double planned_seconds = 0, best_seconds = 0;  ///< measured
  };
  std::vector<Row> rows;
  std::vector<Choice> choices;
  /// Of the errors' sizes.
  struct Summary {
    std::size_t rows = 0;
    double median = 0, median_unfitted = 0, worst = 0;
  };
  Summary all;
  Summary alike;     ///< without the rows during which the machine changed
  Summary as_tuned;  ///< of all, by the profile as it is
};

/// What is checked.
struct PlanCheckOptions {
  planning::Cluster cluster;                           ///< a profile measured with as many ranks
  std::vector<std::string> models = {"nano", "small", "gpt2"};  ///< as of bench train
  std::vector<std::string> types = {"fp32", "bf16"};
  bool parts = true;     ///< collectives, products and layers too
  bool explain = false;  ///< print on rank 0 how each step was priced
  /// Called on rank 0 with every row as it is there.
  std::function<void(const PlanCheck::Row&)> progress;
};

/// Measures collectives, products, layers and training steps on the ranks of `world`, and prices
/// each by the profile, which is the same on all ranks, for the condition that the machine is in:
/// probes stand around each measurement, and what ranks exchange is measured anew now and then.
/// Collective; the same on all ranks. Throws UsageError if the profile is of other ranks.
PlanCheck check_plan(const Communicator& world, const PlanCheckOptions& options);

}  // namespace shoal::bench
