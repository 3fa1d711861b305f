// shoal train
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/kernels/local/gemm.hpp>
#include <shoal/models/memory.hpp>
#include <shoal/models/stage.hpp>
#include <shoal/models/trainer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/flight_recorder.hpp>
#include <shoal/runtime/isa.hpp>
#include <shoal/runtime/topology.hpp>

#include "auto_mesh.hpp"
#include "command.hpp"
#include "default_mesh.hpp"
#include "progress.hpp"
#include "step_log.hpp"
#include "stop_signal.hpp"
#include "train_flags.hpp"

namespace shoal::launch {
namespace {

constexpr const char* about_train =
    "Trains a GPT (GPT-2's architecture) on text.\n"
    "\n"
    "  mpirun -n 4 shoal train --data text.txt --n-layer 4 --n-head 4 \\\n"
    "      --n-embd 128 --block-size 64 --max-iters 2000\n"
    "\n"
    "The flags have the names that nanoGPT users know. Any number of ranks learns the same: the "
    "mesh changes where the work is done, not what is computed.";

void print_plan(const TrainFlags& flags, const models::TrainOptions& options,
                const models::Dataset& data, const MeshShape& mesh, int ranks,
                const std::string& why) {
  const models::GptConfig& model = options.model;
  const auto count = [&](models::Split split) {
    return static_cast<double>(data.tokens(split).size()) * 1e-6;
  };
  fmt::print("model   {:.2f} M parameters: {} layers, {} heads, width {}, block {}, {} ids\n",
             static_cast<double>(models::parameter_count(model)) * 1e-6, model.layers, model.heads,
             model.width, model.block_size, model.vocabulary);
  fmt::print("data    {}: {:.2f} M tokens to train, {:.2f} M to validate ({})\n", flags.data,
             count(models::Split::train), count(models::Split::validation),
             data.tokenizer().name());
  fmt::print("step    {} tokens ({} sequences x {} x {} micro-steps), {:.2f} GFLOP\n",
             options.batch_size * model.block_size * options.grad_accum, options.batch_size,
             model.block_size, options.grad_accum,
             1e-9 * models::training_flops_per_token(model, model.block_size) *
                 static_cast<double>(options.batch_size * model.block_size * options.grad_accum));
  fmt::print("mesh    {} on {} rank{}, {} thread{} each, {}\n", mesh.text(), ranks,
             ranks == 1 ? "" : "s", default_compute_threads(),
             default_compute_threads() == 1 ? "" : "s", name_of(selected_isa()));
  if (!why.empty()) fmt::print("        auto: {}\n", why);
  const int stages = mesh.size_of("pp");
  if (stages > 1) {
    const double bubble = models::ideal_bubble(stages, options.grad_accum);
    fmt::print(
        "stages  {} layers; with {} micro-batch{} a step a stage waits {:.0f}% of the time{}\n",
        models::text_of(models::divide_into_stages(model, stages)), options.grad_accum,
        options.grad_accum == 1 ? "" : "es", 100 * bubble,
        bubble > 0.3 ? ": more --grad-accum makes it less" : "");
  }
  fmt::print("gemm    {}\n", kernels::gemm_backend(model.precision));
  std::fflush(stdout);
}

std::string size_text(double bytes) {
  return bytes < 1e9 ? fmt::format("{:.1f} MB", bytes * 1e-6)
                     : fmt::format("{:.2f} GB", bytes * 1e-9);
}

// What the run will take, before it takes it. Collective.
void print_memory(const models::TrainOptions& options, const Mesh& mesh, bool speaks) {
  const models::MemoryForecast forecast = models::forecast_memory(options, mesh);
  if (!speaks) return;
  const auto text = [](Bytes bytes) { return size_text(static_cast<double>(bytes)); };
  const models::MemoryUse& rank = forecast.rank;
  fmt::print("memory  {} a rank: {} parameters, {} gradients, {} optimizer, {} activations, "
             "{} work space, {} copy for checkpoints, {} staging\n",
             text(rank.total()), text(rank.parameters), text(rank.gradients),
             text(rank.optimizer), text(rank.activations), text(rank.workspace),
             text(rank.checkpoint), text(rank.staging));
  fmt::print("        {} on {} ({} rank{}), of {} left of {}\n", text(forecast.needed),
             forecast.host, forecast.ranks, forecast.ranks == 1 ? "" : "s", text(forecast.left),
             forecast.limit);
  std::fflush(stdout);
}

// What checkpoints at intervals will take of each rank's memory. Collective.
void print_checkpoints(const Communicator& world, const models::TrainOptions& options,
                       const models::Trainer& trainer) {
  auto bytes = static_cast<std::int64_t>(trainer.copy_memory());
  all_reduce(world, &bytes, &bytes, 1, DType::i64, ReduceOp::max);
  if (world.rank() != 0 || options.checkpoint_interval == 0) return;
  fmt::print("save    every {} steps to {}, {}\n", options.checkpoint_interval,
             options.out_dir.string(),
             bytes == 0 ? "while training waits"
                        : "from a copy of " + size_text(static_cast<double>(bytes)) + " a rank");
  std::fflush(stdout);
}

// What the run's checkpoints have cost.
void print_saved(const models::Trainer::Result& result) {
  if (result.saves == 0) return;
  const double all = result.train_seconds + result.save_seconds;
  fmt::print("saved   {} checkpoint{}; training stood still for {:.2f} s of {:.1f} s ({:.1f} %)\n",
             result.saves, result.saves == 1 ? "" : "s", result.save_seconds, all,
             all > 0 ? 100 * result.save_seconds / all : 0.0);
}

class TrainCommand : public Command {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("train", about_train);
    add_flags(*app_, flags_);
    app_->parse_complete_callback([this] { trace_file_ = flags_.trace; });
  }

  int run(Runtime& runtime) override {
    const Communicator& world = runtime.world();
    const StopSignal signal;
    flight::set_folder(flags_.out_dir);
    std::optional<models::ModelCheckpoint> checkpoint;
    if (flags_.resume) {
      checkpoint = open_to_resume(world);
      flags_ = resumed_flags(*app_, flags_, checkpoint->metadata());
    }
    const bool automatic = flags_.mesh == "auto";
    MeshShape shape;
    if (!automatic) shape = choose_mesh(flags_.mesh, world.size(), flags_.n_head);
    // What is wrong with the flags should be said before the data are read.
    models::check(flags_.training(flags_.vocab_size), shape);
    models::DatasetOptions data_options = flags_.dataset();
    if (checkpoint) data_options.given = checkpoint->tokenizer();
    const models::Dataset data(data_options);
    models::TrainOptions options = flags_.training(data.tokenizer().vocabulary());
    std::string why;
    if (automatic) {
      AutoMesh chosen = choose_auto_mesh(world, options);
      shape = std::move(chosen.mesh);
      why = std::move(chosen.why);
    }
    models::check(options, shape);
    options.metadata =
        saved_flags(*app_, flags_, checkpoint ? checkpoint->metadata() : Metadata{});
    const Mesh mesh(world, shape);
    const bool speaks = world.rank() == 0;
    if (speaks) print_plan(flags_, options, data, shape, world.size(), why);
    print_memory(options, mesh, speaks);
    if (flags_.dry_run) {
      models::require_memory(options, mesh);
      return 0;
    }

    std::unique_ptr<models::Trainer> trainer =
        checkpoint ? std::make_unique<models::Trainer>(options, mesh, data, *checkpoint)
                   : std::make_unique<models::Trainer>(options, mesh, data);
    StepLog log(world, flags_.log_json, flags_.resume);
    Progress progress(Progress::parse_mode(flags_.progress), trainer->step(), options.max_iters,
                      flags_.log_interval);
    print_checkpoints(world, options, *trainer);
    if (speaks && checkpoint) fmt::print("resumed at step {}\n", trainer->step());

    models::Trainer::Callbacks callbacks;
    callbacks.on_step = [&](const models::StepReport& report) {
      if (!speaks) return;
      log.write(report, shape.text());
      progress.step(report);
    };
    callbacks.should_stop = [&] { return signal.received() != 0; };
    const models::Trainer::Result result = trainer->run(callbacks);
    progress.finish();

    if (speaks) {
      print_saved(result);
      fmt::print("{} after {} steps; checkpoint in {}\n", result.stopped ? "stopped" : "done",
                 result.steps, flags_.out_dir);
      std::fflush(stdout);
    }
    if (!result.stopped) return 0;
    // The signal may have reached one rank only; all end with the same status.
    std::int32_t number = signal.received();
    all_reduce(world, &number, &number, 1, DType::i32, ReduceOp::max);
    return 128 + (number != 0 ? number : SIGTERM);
  }

 private:
  // A folder without a checkpoint is an error: a wrong --out-dir should not begin a second run.
  models::ModelCheckpoint open_to_resume(const Communicator& world) const {
    try {
      return models::ModelCheckpoint::open(world, flags_.out_dir);
    } catch (const UsageError& error) {
      throw UsageError("--resume", error.message(), "leave out --resume to begin anew");
    }
  }

  TrainFlags flags_;
};

}  // namespace

std::unique_ptr<Command> make_train_command() { return std::make_unique<TrainCommand>(); }

}  // namespace shoal::launch
