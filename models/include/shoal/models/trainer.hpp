// The training loop.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include <shoal/models/dataset.hpp>
#include <shoal/models/gpt.hpp>
#include <shoal/models/learning_rate.hpp>
#include <shoal/models/model_checkpoint.hpp>
#include <shoal/models/optimizer.hpp>
#include <shoal/runtime/mesh.hpp>

namespace shoal::models {

/// What to train and how. The defaults are nanoGPT's.
struct TrainOptions {
  GptConfig model;  ///< its vocabulary and block size must be the data set's
  MemorySavings savings;
  Traffic traffic;
  Optimizer::Options optimizer;
  LearningRate learning_rate;
  Index batch_size = 12;          ///< sequences of a micro-step, over all ranks
  Index grad_accum = 1;           ///< micro-steps of a step; a pipeline's micro-batches
  std::int64_t max_iters = 600000;
  std::int64_t eval_interval = 2000;  ///< steps from one evaluation to the next; 0: none
  Index eval_iters = 200;         ///< batches of an evaluation, for each part of the data
  std::uint64_t seed = 1337;      ///< of weights, batches and dropout

  std::filesystem::path out_dir;  ///< root of the checkpoints; empty: none are written
  std::int64_t checkpoint_interval = 2000;  ///< steps; 0: only at the end
  int keep_checkpoints = 2;
  bool async_checkpoints = true;  ///< write those at intervals, from a copy, while training goes on
  Metadata metadata;              ///< kept in the checkpoints
};

/// Axes of a mesh that training can divide its work over; all others have the extent 1.
inline constexpr std::string_view training_axes[] = {"pp", "dp", "tp"};

/// Throws UsageError if the numbers make no run on this mesh.
void check(const TrainOptions& options, const MeshShape& mesh);

/// True if checkpoints are written before the end.
bool saves_at_intervals(const TrainOptions& options);

/// One step, as all ranks see it (losses), or as this rank does (times).
struct StepReport {
  std::int64_t step = 0;             ///< updates before this one
  std::optional<double> loss;        ///< mean over the step's tokens; nothing after the last update
  std::optional<double> train_loss;  ///< where evaluated: mean over random training sequences
  std::optional<double> val_loss;    ///< where evaluated: the same of the validation part
  double learning_rate = 0;
  double gradient_norm = 0;          ///< global, before clipping
  double step_ms = 0;                ///< of training, evaluation not counted
  double tokens_per_s = 0;           ///< of all ranks together
  double gflops = 0;                 ///< 1e9 floating-point operations a second, all ranks
  double comm_share = 0;             ///< of step_ms, in communication
  /// Share of the gradients whose sum over dp was complete when the backward pass ended.
  std::optional<double> overlap;
  /// Where the mesh has pp: share of the time of its passes in which a rank waited for other
  /// stages, in the mean over all ranks.
  std::optional<double> bubble;
};

/// Trains a GPT on a mesh with the axes dp, tp and pp. Batches, dropout and initial weights are
/// functions of the seed, not of the mesh: every mesh takes the same steps, up to rounding.
class Trainer {
 public:
  /// Makes the model, with fresh weights. Throws UsageError if the options do not fit the mesh or
  /// the data, or the memory of a node (require_memory), or if out_dir holds an earlier run. `mesh`
  /// and `data` must outlive the trainer. Collective.
  Trainer(const TrainOptions& options, const Mesh& mesh, const Dataset& data);
  /// Goes on from a checkpoint: with the options of the run that wrote it, losses are those of a run
  /// that was never interrupted.
  Trainer(const TrainOptions& options, const Mesh& mesh, const Dataset& data,
          const ModelCheckpoint& from);
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  struct Callbacks {
    /// After every step, and once after the last update.
    std::function<void(const StepReport&)> on_step;
    /// Asked once a step; if any rank says true, all stop after that step's update.
    std::function<bool()> should_stop;
  };
  struct Result {
    std::int64_t steps = 0;  ///< updates that the weights have seen
    bool stopped = false;    ///< by should_stop
    std::int64_t saves = 0;  ///< checkpoints written by this run
    /// That training stood still for them on this rank: for copying, agreeing and waiting. The last
    /// one, after training, is not in it.
    double save_seconds = 0;
    double train_seconds = 0;  ///< of all steps, evaluation and checkpoints not counted
  };
  /// Trains until max_iters updates are done. Writes checkpoints at intervals (if that fails it
  /// warns and tries again at the next) and at the end. One that is still being written when the
  /// next is due, or the training ends, is waited for. Throws Error, the same on all ranks, if a
  /// loss or gradient is not finite, naming the step (no checkpoint is overwritten), or if the last
  /// checkpoint cannot be written. Collective.
  Result run(const Callbacks& callbacks);

  struct Losses {
    double train = 0;
    double validation = 0;
  };
  /// Mean losses over eval_iters batches of each part, drawn by the number of steps done. Collective.
  Losses evaluate();

  Gpt& model() noexcept { return model_; }
  Optimizer& optimizer() noexcept { return optimizer_; }
  /// Memory of this rank's copy of what a checkpoint at an interval holds; 0 if there are none.
  Bytes copy_memory() const noexcept { return writer_.reserved(); }
  /// Memory that this rank's buffers take; after the first step, what predict_memory says.
  MemoryUse memory() const noexcept;
  /// Updates done.
  std::int64_t step() const noexcept { return step_; }

 private:
  struct Fresh {};
  Trainer(const TrainOptions& options, const Mesh& mesh, const Dataset& data, Fresh);
  // What the ranks have agreed upon in a step.
  struct Agreed {
    bool stop = false;
    bool files_ready = false;  // all have done their part of the checkpoint under way
  };
  StepReport train_step(bool stop, Agreed& agreed);
  // `count` batches of a step, from number `first` on. Overwrites those of the last call.
  std::vector<TokenBatch> draw(Split split, std::uint64_t step, Index first, Index count);
  double mean_loss(Split split);
  void require_sound_weights();
  ModelState state();
  void save_at_interval();
  void save_at_end();
  void go_on_saving(bool to_the_end);
  void require_finite(double value, const char* what);

  TrainOptions options_;
  const Mesh& mesh_;
  const Dataset& data_;
  Gpt model_;
  Optimizer optimizer_;
  Block share_;  ///< of the batch's sequences, this dp group's
  std::vector<std::int32_t> inputs_, targets_;
  std::int64_t step_ = 0;
  CheckpointWriter writer_;
  std::optional<std::int64_t> saved_step_;
  Result result_;
};

}  // namespace shoal::models
