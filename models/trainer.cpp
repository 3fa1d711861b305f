#include <shoal/models/trainer.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <string>
#include <system_error>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/models/memory.hpp>
#include <shoal/models/stage.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>
#include <shoal/runtime/trace.hpp>

namespace shoal::models {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void require(bool holds, const char* flag, const std::string& value, const char* cure) {
  if (!holds) throw UsageError("training", std::string(flag) + " is " + value, cure);
}

void require_positive_flag(std::int64_t value, const char* flag) {
  require(value >= 1, flag, std::to_string(value), "it must be at least 1");
}

TrainOptions checked(TrainOptions options, const Mesh& mesh, const Dataset& data) {
  check(options, mesh.shape());
  if (options.model.vocabulary != data.tokenizer().vocabulary() ||
      options.model.block_size != data.block_size()) {
    throw Error("training", "the model takes " + std::to_string(options.model.vocabulary) +
                                " ids in blocks of " + std::to_string(options.model.block_size) +
                                ", the data has " + std::to_string(data.tokenizer().vocabulary()) +
                                " in blocks of " + std::to_string(data.block_size()));
  }
  require_memory(options, mesh);
  return options;
}

void prepare_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw UsageError("training", folder.string() + ": " + error.message(),
                     "choose another --out-dir");
  }
}

}  // namespace

void check(const TrainOptions& options, const MeshShape& mesh) {
  for (const MeshShape::Axis& axis : mesh.axes) {
    const bool known = std::find(std::begin(training_axes), std::end(training_axes), axis.name) !=
                       std::end(training_axes);
    if (!known && axis.size != 1) {
      throw UsageError("training", "mesh " + mesh.text() + " has the axis " + axis.name,
                       "use dp (data parallel), tp (tensor parallel) and pp (pipeline)");
    }
  }
  check(options.model, mesh.size_of("tp"));
  divide_into_stages(options.model, mesh.size_of("pp"));
  require_positive_flag(options.batch_size, "--batch-size");
  require_positive_flag(options.grad_accum, "--grad-accum");
  require_positive_flag(options.max_iters, "--max-iters");
  require_positive_flag(options.eval_iters, "--eval-iters");
  require_positive_flag(options.keep_checkpoints, "--keep-checkpoints");
  require(options.eval_interval >= 0, "--eval-interval", std::to_string(options.eval_interval),
          "it must be 0 (never) or more");
  require(options.checkpoint_interval >= 0, "--checkpoint-interval",
          std::to_string(options.checkpoint_interval), "it must be 0 (only at the end) or more");
  const LearningRate& rate = options.learning_rate;
  require(std::isfinite(rate.peak) && rate.peak >= 0, "--learning-rate",
          std::to_string(rate.peak), "it must be 0 or more");
  require(std::isfinite(rate.smallest) && rate.smallest >= 0, "--min-lr",
          std::to_string(rate.smallest), "it must be 0 or more");
  require(rate.warmup_steps >= 0, "--warmup-iters", std::to_string(rate.warmup_steps),
          "it must be 0 or more");
  const Optimizer::Options& adam = options.optimizer;
  require(adam.beta1 >= 0 && adam.beta1 < 1, "--beta1", std::to_string(adam.beta1),
          "it must be at least 0 and below 1");
  require(adam.beta2 >= 0 && adam.beta2 < 1, "--beta2", std::to_string(adam.beta2),
          "it must be at least 0 and below 1");
  require(adam.weight_decay >= 0, "--weight-decay", std::to_string(adam.weight_decay),
          "it must be 0 or more");
  require(adam.clip >= 0, "--grad-clip", std::to_string(adam.clip), "it must be 0 (off) or more");
  const Traffic& traffic = options.traffic;
  for (const DType type : {traffic.gradients, traffic.weights}) {
    require(type == DType::f32 || type == DType::bf16,
            "the type in which gradients or weights travel", std::string(name_of(type)),
            "it must be f32 or bf16");
  }
  require(traffic.weights == DType::f32 || (options.savings.shard_optimizer &&
                                            options.model.precision == kernels::Precision::bf16),
          "--gather-dtype", "bf16", "pass --zero 1 and --dtype bf16 with it");
  const int replicas = mesh.size_of("dp");
  if (options.batch_size < replicas) {
    throw UsageError("training",
                     "a batch of " + std::to_string(options.batch_size) +
                         " sequences does not divide over dp=" + std::to_string(replicas) +
                         " ranks",
                     "raise --batch-size, or choose a mesh with a smaller dp");
  }
}

bool saves_at_intervals(const TrainOptions& options) {
  return !options.out_dir.empty() && options.checkpoint_interval > 0 &&
         options.checkpoint_interval < options.max_iters;
}

Trainer::Trainer(const TrainOptions& options, const Mesh& mesh, const Dataset& data, Fresh)
    : options_(checked(options, mesh, data)),
      mesh_(mesh),
      data_(data),
      model_(options_.model, mesh, options_.seed, options_.savings, options_.traffic),
      optimizer_(model_, options_.optimizer),
      share_(block_of(options_.batch_size, mesh.axis("dp").size(), mesh.coordinate("dp"))),
      writer_(mesh.all()) {
  if (options_.async_checkpoints && saves_at_intervals(options_)) {
    writer_.reserve(copy_bytes(model_, &optimizer_));
  }
}

Trainer::Trainer(const TrainOptions& options, const Mesh& mesh, const Dataset& data)
    : Trainer(options, mesh, data, Fresh{}) {
  if (options_.out_dir.empty()) return;
  // One rank looks for all: folders change, and not every host sees it at once.
  std::int64_t earlier = -1;
  if (mesh.all().rank() == 0) {
    const std::vector<std::int64_t> steps = complete_checkpoints(options_.out_dir);
    if (!steps.empty()) earlier = steps.back();
  }
  broadcast(mesh.all(), &earlier, 1, DType::i64, 0);
  if (earlier >= 0) {
    throw UsageError("training",
                     options_.out_dir.string() + " holds an earlier run (up to step " +
                         std::to_string(earlier) + ")",
                     "pass --resume to go on with it, or choose another --out-dir");
  }
  prepare_folder(options_.out_dir);
}

Trainer::Trainer(const TrainOptions& options, const Mesh& mesh, const Dataset& data,
                 const ModelCheckpoint& from)
    : Trainer(options, mesh, data, Fresh{}) {
  if (from.tokenizer().state() != data.tokenizer().state()) {
    throw UsageError("resuming from " + from.path().string(),
                     "its tokenizer (" + std::string(from.tokenizer().name()) + ", " +
                         std::to_string(from.tokenizer().vocabulary()) +
                         " ids) is not that of the data",
                     "pass the data that the run was started on");
  }
  from.load(model_);
  from.load(model_, optimizer_);
  step_ = from.step();
  saved_step_ = step_;
  if (!options_.out_dir.empty()) prepare_folder(options_.out_dir);
}

std::vector<TokenBatch> Trainer::draw(Split split, std::uint64_t step, Index first, Index count) {
  const Index time = options_.model.block_size;
  const Index tokens = share_.size * time;
  inputs_.resize(std::max(inputs_.size(), static_cast<std::size_t>(count * tokens)));
  targets_.resize(inputs_.size());
  std::vector<TokenBatch> batches;
  for (Index i = 0; i < count; ++i) {
    std::int32_t* inputs = inputs_.data() + i * tokens;
    std::int32_t* targets = targets_.data() + i * tokens;
    const Index begin = (first + i) * options_.batch_size + share_.begin;
    for (Index row = 0; row < share_.size; ++row) {
      data_.sequence({split, options_.seed, step, static_cast<std::uint64_t>(begin + row)},
                     inputs + row * time, targets + row * time);
    }
    batches.push_back({share_.size, time, inputs, targets, share_.begin});
  }
  return batches;
}

void Trainer::require_finite(double value, const char* what) {
  if (std::isfinite(value)) return;
  // Weights of an earlier step had a finite loss; those of this step do not appear.
  if (writer_.busy() && writer_.step() < step_) go_on_saving(true);
  std::string kept = "no checkpoint was written yet";
  if (options_.out_dir.empty()) {
    kept.clear();
  } else if (saved_step_) {
    kept = "the last good checkpoint, of step " + std::to_string(*saved_step_) + ", is in " +
           options_.out_dir.string();
  }
  throw Error("training",
              std::string("the ") + what + " at step " + std::to_string(step_) + " is " +
                  (std::isnan(value) ? "not a number" : "infinite") +
                  (kept.empty() ? "" : "; " + kept),
              "lower --learning-rate, or raise --warmup-iters");
}

StepReport Trainer::train_step(bool stop, Agreed& agreed) {
  const auto start = Clock::now();
  const Seconds communication = trace::communication_time();
  StepReport report;
  report.step = step_;
  report.learning_rate = options_.learning_rate.at(step_);

  const double tokens =
      static_cast<double>(options_.batch_size * options_.model.block_size * options_.grad_accum);
  // Rank 0 of each tp group gives its loss, so that the sum over all ranks counts each token once
  // (of the stages only the last one has it); in the same message the ranks agree whether to stop,
  // and whether all have done their part of a checkpoint.
  double sums[4] = {0, stop ? 1.0 : 0.0, writer_.ready() ? 0.0 : 1.0, 0};
  model_.zero_gradients();
  sums[0] = model_.accumulate_gradients(
      draw(Split::train, static_cast<std::uint64_t>(step_), 0, options_.grad_accum), 1.0 / tokens,
      options_.seed, static_cast<std::uint64_t>(step_ * options_.grad_accum), true);
  model_.reduce_gradients();
  if (mesh_.coordinate("tp") != 0) sums[0] = 0;
  const Gpt::PipelineTimes& pipeline = model_.pipeline_times();
  sums[3] = pipeline.waited.count() / pipeline.total.count();
  all_reduce(mesh_.all(), sums, sums, 4, DType::f64, ReduceOp::sum);
  agreed = {sums[1] > 0, sums[2] == 0};
  report.loss = sums[0] / tokens;
  require_finite(*report.loss, "loss");

  report.gradient_norm = optimizer_.step(static_cast<float>(report.learning_rate));
  require_finite(report.gradient_norm, "norm of the gradient");
  ++step_;

  const double seconds = seconds_since(start);
  report.step_ms = seconds * 1e3;
  report.tokens_per_s = tokens / seconds;
  report.gflops = report.tokens_per_s * 1e-9 *
                  training_flops_per_token(options_.model, options_.model.block_size);
  report.comm_share = (trace::communication_time() - communication).count() / seconds;
  report.overlap = model_.summed_early();
  if (model_.stage().count > 1) report.bubble = sums[3] / mesh_.all().size();
  return report;
}

double Trainer::mean_loss(Split split) {
  double sum = 0;
  // So many at a time that a pipeline is full for most of them.
  const Index together = model_.stage().count == 1 ? 1 : 8 * model_.stage().count;
  for (Index first = 0; first < options_.eval_iters; first += together) {
    // The complement of a step is no step: evaluation never draws what training drew.
    sum += model_.loss(draw(split, ~static_cast<std::uint64_t>(step_), first,
                            std::min(together, options_.eval_iters - first)));
  }
  if (mesh_.coordinate("tp") != 0) sum = 0;
  all_reduce(mesh_.all(), &sum, &sum, 1, DType::f64, ReduceOp::sum);
  return sum / static_cast<double>(options_.eval_iters * options_.batch_size *
                                   options_.model.block_size);
}

Trainer::Losses Trainer::evaluate() {
  return {mean_loss(Split::train), mean_loss(Split::validation)};
}

// An update can blow up the weights and show in the loss only at the next step: after a good
// checkpoint would have made way for a bad one. So the next step's loss is looked at first.
void Trainer::require_sound_weights() {
  double loss = model_.loss(draw(Split::train, static_cast<std::uint64_t>(step_), 0, 1));
  all_reduce(mesh_.all(), &loss, &loss, 1, DType::f64, ReduceOp::sum);
  require_finite(loss, "loss");
}

MemoryUse Trainer::memory() const noexcept {
  MemoryUse use = model_.memory();
  use.optimizer = optimizer_.memory();
  use.checkpoint = writer_.reserved();
  return use;
}

ModelState Trainer::state() {
  return {step_, &optimizer_, &data_.tokenizer(), options_.metadata, options_.keep_checkpoints};
}

// A full disk may be cleared before the next interval; the weights in memory are worth more than an
// early end. A rank that is gone is another matter: without it there is no next step.
void Trainer::save_at_interval() {
  const auto start = Clock::now();
  go_on_saving(true);
  // One that is written beside the training appears, at the earliest, after the next step's loss
  // has been looked at.
  if (!options_.async_checkpoints) require_sound_weights();
  try {
    if (options_.async_checkpoints) {
      const trace::Span span("start checkpoint", trace::Category::io);
      start_saving(writer_, options_.out_dir, model_, state());
    } else {
      const trace::Span span("save checkpoint", trace::Category::io);
      save_model(options_.out_dir, model_, state());
      saved_step_ = step_;
      ++result_.saves;
    }
  } catch (const PeerError&) {
    throw;
  } catch (const Error& error) {
    log::warning(error.message() + " (training goes on)");
  }
  result_.save_seconds += seconds_since(start);
}

// The next stage of the checkpoint under way, or all that are left.
void Trainer::go_on_saving(bool to_the_end) {
  if (!writer_.busy()) return;
  const trace::Span span(to_the_end ? "wait for checkpoint" : "agree on checkpoint",
                         trace::Category::io);
  try {
    if (to_the_end) {
      writer_.finish();
    } else {
      writer_.advance();
    }
  } catch (const PeerError&) {
    throw;
  } catch (const Error& error) {
    log::warning(error.message() + " (training goes on)");
    return;
  }
  if (writer_.busy()) return;
  saved_step_ = writer_.step();
  ++result_.saves;
}

void Trainer::save_at_end() {
  if (options_.out_dir.empty()) return;
  go_on_saving(true);
  if (saved_step_ == step_) return;
  require_sound_weights();
  const trace::Span span("save checkpoint", trace::Category::io);
  save_model(options_.out_dir, model_, state());
  saved_step_ = step_;
  ++result_.saves;
}

Trainer::Result Trainer::run(const Callbacks& callbacks) {
  const auto report_step = [&](const StepReport& report) {
    if (callbacks.on_step) callbacks.on_step(report);
  };
  result_ = {};
  Agreed agreed;
  while (step_ < options_.max_iters && !agreed.stop) {
    std::optional<Losses> losses;
    if (options_.eval_interval > 0 && step_ % options_.eval_interval == 0) losses = evaluate();
    StepReport report = train_step(callbacks.should_stop && callbacks.should_stop(), agreed);
    result_.train_seconds += report.step_ms * 1e-3;
    if (losses) {
      report.train_loss = losses->train;
      report.val_loss = losses->validation;
    }
    report_step(report);
    if (agreed.files_ready) {
      const auto start = Clock::now();
      go_on_saving(false);
      result_.save_seconds += seconds_since(start);
    }
    const bool last = agreed.stop || step_ == options_.max_iters;
    if (!last && saves_at_intervals(options_) && step_ % options_.checkpoint_interval == 0) {
      save_at_interval();
    }
  }
  save_at_end();
  if (!agreed.stop && options_.eval_interval > 0) {
    const Losses losses = evaluate();
    StepReport report;
    report.step = step_;
    report.learning_rate = options_.learning_rate.at(step_);
    report.train_loss = losses.train;
    report.val_loss = losses.validation;
    report_step(report);
  }
  result_.steps = step_;
  result_.stopped = agreed.stop;
  return result_;
}

}  // namespace shoal::models
