// What a checkpoint costs the training: stretches of ten steps in turns, one with a checkpoint, which is
// written beside the training, and one without.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/models/trainer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/topology.hpp>

#include "disk_share.hpp"
#include "report.hpp"
#include "timing.hpp"
#include "train_configs.hpp"

namespace shoal::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t stretch = 10;  // steps
// In the steady state a checkpoint is written over the one that is no longer kept: with one that is
// kept, the third is the first of that kind.
constexpr std::int64_t warm_up = 3 * 2 * stretch;

// A new folder in `parent`, by the same name on all ranks, gone at the end.
class BenchFolder {
 public:
  BenchFolder(const Communicator& world, const fs::path& parent) : owner_(world.rank() == 0) {
    std::int64_t number = owner_ ? std::random_device()() : 0;
    broadcast(world, &number, 1, DType::i64, 0);
    path_ = parent / fmt::format("shoal-bench-{:08x}", number);
  }
  BenchFolder(const BenchFolder&) = delete;
  BenchFolder& operator=(const BenchFolder&) = delete;
  ~BenchFolder() {
    std::error_code ignored;
    if (owner_) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  bool owner_;
  fs::path path_;
};

// Step by step of the stretch: what disturbs the machine for a moment spoils one step of one round.
using StepTimes = std::vector<std::vector<double>>;

struct Measured {
  StepTimes with = StepTimes(stretch), without = StepTimes(stretch);  // seconds
  Bytes bytes = 0;         // of the checkpoint
  int late = 0;            // checkpoints not whole ten steps later
  double disk_seconds = 0;  // that the disk alone takes
};

double sum_of_medians(const StepTimes& times) {
  double sum = 0;
  for (const std::vector<double>& step : times) sum += median(step);
  return sum;
}

Bytes bytes_in(const fs::path& folder) {
  Bytes bytes = 0;
  std::error_code code;
  for (const auto& entry : fs::recursive_directory_iterator(folder, code)) {
    if (entry.is_regular_file(code)) bytes += entry.file_size(code);
  }
  return bytes;
}

Measured measure(const Communicator& world, const Mesh& mesh, const TrainConfig& config,
                 const models::GptConfig& model, const CheckpointOptions& options) {
  const models::Dataset data = random_tokens(model);
  const BenchFolder folder(world, options.out_dir);
  models::TrainOptions how;
  how.model = model;
  how.batch_size = config.batch_size;
  how.eval_interval = 0;
  how.learning_rate.warmup_steps = 0;
  how.out_dir = folder.path();
  how.checkpoint_interval = 2 * stretch;
  how.keep_checkpoints = 1;
  // It ends where the next checkpoint would come; the one at the end is not timed.
  how.max_iters = warm_up + options.rounds * 2 * stretch;
  models::Trainer trainer(how, mesh, data);

  Measured measured;
  Clock::time_point begin;
  models::Trainer::Callbacks callbacks;
  callbacks.on_step = [&](const models::StepReport& report) {
    const std::int64_t done = report.step + 1;
    if (!report.loss) return;
    const auto now = Clock::now();
    // The checkpoint of a step is begun after it, so its cost is that of the ten that follow.
    const std::int64_t position = (done - 1) % (2 * stretch);
    if (done > warm_up) {
      StepTimes& times = position < stretch ? measured.with : measured.without;
      times[static_cast<std::size_t>(position % stretch)].push_back(
          std::chrono::duration<double>(now - begin).count());
    }
    if (done > warm_up && position == stretch - 1 && world.rank() == 0) {
      const std::vector<std::int64_t> steps = complete_checkpoints(folder.path());
      if (steps.empty() || steps.back() != done - stretch) {
        ++measured.late;
      } else {
        measured.bytes = bytes_in(folder.path() / fmt::format("step-{:08}", steps.back()));
      }
    }
    begin = now;
  };
  trainer.run(callbacks);
  for (StepTimes* times : {&measured.with, &measured.without}) {
    for (std::vector<double>& step : *times) {
      all_reduce(world, std::span<double>(step), ReduceOp::max);
    }
  }
  auto bytes = static_cast<std::int64_t>(measured.bytes);
  broadcast(world, &bytes, 1, DType::i64, 0);
  measured.disk_seconds = seconds_lost_to_disk(
      world, folder.path(), static_cast<Bytes>(bytes / world.size()), options.rounds);
  return measured;
}

}  // namespace

void checkpoint(const Communicator& world, const CheckpointOptions& options) {
  const TrainConfig& config = train_config(options.config);
  for (const std::string& type : options.types) train_precision(type);
  if (options.rounds < 1) throw UsageError("bench checkpoint", "--rounds must be 1 or more");
  Report report(world, options.json);
  const Mesh mesh(world, options.mesh);
  const bool speaks = world.rank() == 0;
  if (speaks) {
    fmt::print("{}, mesh {}, {} thread(s) a rank, into {}\n", config.name, options.mesh.text(),
               default_compute_threads(), options.out_dir);
    fmt::print("{:<5} {:>9} {:>14} {:>17} {:>7} {:>12} {:>6}\n", "dtype", "MB", "10 steps, ms",
               "with one, ms", "cost", "disk alone", "late");
  }
  for (const std::string& type : options.types) {
    models::GptConfig model = config.model;
    model.precision = train_precision(type);
    const Measured measured = measure(world, mesh, config, model, options);
    const double with = sum_of_medians(measured.with);
    const double without = sum_of_medians(measured.without);
    const double cost = with / without - 1;
    const double disk = measured.disk_seconds / without;
    if (speaks) {
      fmt::print("{:<5} {:>9.1f} {:>14.1f} {:>17.1f} {:>6.1f}% {:>11.1f}% {:>6}\n", type,
                 static_cast<double>(measured.bytes) * 1e-6, without * 1e3, with * 1e3, 100 * cost,
                 100 * disk, measured.late);
      std::fflush(stdout);
    }
    Row row;
    row.op = "checkpoint";
    row.shape = config.name;
    row.bytes = measured.bytes;
    row.algorithm = options.mesh.text();
    row.median_us = with * 1e6;
    row.bound_us = (without + measured.disk_seconds) * 1e6;
    row.more = {{"cost", cost}, {"disk_cost", disk}, {"late", static_cast<double>(measured.late)}};
    row.notes = {{"dtype", type}};
    report.add(std::move(row));
  }
  if (speaks) {
    fmt::print("Sums of the steps' medians over {} rounds, of the slowest rank. Disk alone: what a\n"
               "computation in registers loses while as much is written. Late: not whole on the\n"
               "disk ten steps later.\n",
               options.rounds);
  }
  report.write();
}

}  // namespace shoal::bench
