#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/models/trainer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/topology.hpp>

#include "peak.hpp"
#include "report.hpp"
#include "timing.hpp"
#include "train_configs.hpp"

namespace shoal::bench {
namespace {

// All ranks at once, as in the training step.
double summed_peak(const Communicator& world, const std::string& type) {
  barrier(world);
  double peak = large_gemm_gflops(type);
  if (type == "fp32") peak = std::max(peak, large_sgemm_gflops());
  all_reduce(world, &peak, &peak, 1, DType::f64, ReduceOp::sum);
  return peak;
}

struct Speed {
  double step_ms = 0;
  double comm_share = 0;
};

Speed measure_speed(const Communicator& world, const Mesh& mesh, const TrainConfig& config,
                    const models::GptConfig& model, int steps) {
  const models::Dataset data = random_tokens(model);
  models::TrainOptions options;
  options.model = model;
  options.batch_size = config.batch_size;
  options.eval_interval = 0;
  options.max_iters = config.warm_up + steps;
  options.learning_rate.warmup_steps = 0;
  models::Trainer trainer(options, mesh, data);
  std::vector<double> times, shares;
  models::Trainer::Callbacks callbacks;
  callbacks.on_step = [&](const models::StepReport& report) {
    if (report.step == 0) {
      // Fresh weights know nothing: the loss is that of guessing, with some noise from the logits.
      const double guessing = std::log(static_cast<double>(model.vocabulary));
      if (std::abs(*report.loss - guessing) > 0.5) {
        throw Error("bench train", fmt::format("the first loss is {:.3f}, that of guessing {:.3f}",
                                               *report.loss, guessing),
                    "report this");
      }
    }
    if (report.step < config.warm_up) return;
    times.push_back(report.step_ms);
    shares.push_back(report.comm_share);
  };
  trainer.run(callbacks);
  all_reduce(world, times.data(), times.data(), static_cast<Index>(times.size()), DType::f64,
             ReduceOp::max);
  return {median(times), median(shares)};
}

}  // namespace

void train(const Communicator& world, const TrainOptions& options) {
  for (const std::string& name : options.configs) train_config(name);
  for (const std::string& type : options.types) train_precision(type);
  if (options.steps < 0) throw UsageError("bench train", "--steps must be 0 or more");
  Report report(world, options.json);
  const Mesh mesh(world, options.mesh);
  const bool speaks = world.rank() == 0;
  if (speaks) {
    fmt::print("mesh {}, {} thread(s) a rank, random tokens\n", options.mesh.text(),
               default_compute_threads());
    fmt::print("{:<6} {:<5} {:>9} {:>10} {:>9} {:>6} {:>10} {:>9}\n", "model", "dtype", "step ms",
               "tokens/s", "GFLOP/s", "comm", "bound ms", "of bound");
  }
  for (const std::string& type : options.types) {
    const double peak = summed_peak(world, type);
    for (const std::string& name : options.configs) {
      const TrainConfig& config = train_config(name);
      models::GptConfig model = config.model;
      model.precision = train_precision(type);
      const Speed measured = measure_speed(world, mesh, config, model,
                                           options.steps > 0 ? options.steps : config.steps);
      const auto tokens = static_cast<double>(config.batch_size * model.block_size);
      const double operations =
          tokens * models::training_flops_per_token(model, model.block_size);
      const double bound_ms = operations / peak * 1e-6;
      const double tokens_per_s = tokens / measured.step_ms * 1e3;
      if (speaks) {
        fmt::print("{:<6} {:<5} {:>9.2f} {:>10.0f} {:>9.1f} {:>5.1f}% {:>10.2f} {:>8.0f}%\n", name,
                   type, measured.step_ms, tokens_per_s, operations / measured.step_ms * 1e-6,
                   100 * measured.comm_share, bound_ms, 100 * bound_ms / measured.step_ms);
        std::fflush(stdout);
      }
      Row row;
      row.op = "train";
      row.shape = name;
      row.algorithm = options.mesh.text();
      row.median_us = measured.step_ms * 1e3;
      row.bound_us = bound_ms * 1e3;
      row.more = {{"tokens_per_s", tokens_per_s},
                  {"gflops", operations / measured.step_ms * 1e-6},
                  {"comm_share", measured.comm_share},
                  {"peak_gflops", peak},
                  {"threads", static_cast<double>(default_compute_threads())}};
      row.notes = {{"dtype", type}};
      report.add(std::move(row));
    }
    if (speaks) {
      fmt::print("Bound: the step's arithmetic at {:.0f} GFLOP/s, the rate of a 1536-cube {}\n"
                 "product on all ranks at once. Times are those of the slowest rank.\n",
                 peak, type);
    }
  }
  report.write();
}

}  // namespace shoal::bench
