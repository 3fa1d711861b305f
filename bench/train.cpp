#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/models/trainer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/topology.hpp>

#include "overlap.hpp"
#include "peak.hpp"
#include "report.hpp"
#include "spent.hpp"
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
  double bubble = 0;
  Spent spent;  // a step, of all
  std::optional<Overlap> overlap;
};

// How to train, apart from model and mesh.
struct Steps {
  Index batch_size, micro_batches;
  int warm_up, timed;
  models::MemorySavings savings;
  models::Traffic traffic;
};

DType wire_of(const std::string& type) {
  return train_precision(type) == kernels::Precision::bf16 ? DType::bf16 : DType::f32;
}

models::TrainOptions options_of(const models::GptConfig& model, const Steps& how) {
  models::TrainOptions options;
  options.model = model;
  options.batch_size = how.batch_size / how.micro_batches;
  options.grad_accum = how.micro_batches;
  options.eval_interval = 0;
  options.max_iters = how.warm_up + how.timed;
  options.learning_rate.warmup_steps = 0;
  options.savings = how.savings;
  options.traffic = how.traffic;
  return options;
}

Speed measure_speed(const Communicator& world, const Mesh& mesh, const models::GptConfig& model,
                    const Steps& how, bool overlap) {
  const models::Dataset data = random_tokens(model);
  const models::TrainOptions options = options_of(model, how);
  models::Trainer trainer(options, mesh, data);
  std::vector<double> times, shares, bubbles;
  Spent before;
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
    if (report.step == how.warm_up - 1) {
      // The first steps touch memory for the first time, which may take some ranks seconds longer.
      barrier(world);
      before = Spent::now();
    }
    if (report.step < how.warm_up) return;
    times.push_back(report.step_ms);
    shares.push_back(report.comm_share);
    bubbles.push_back(report.bubble.value_or(0));
  };
  trainer.run(callbacks);
  Spent spent = of_all(world, Spent::now() - before);
  spent.processor_seconds /= how.timed;
  spent.sent_bytes /= how.timed;
  all_reduce(world, times.data(), times.data(), static_cast<Index>(times.size()), DType::f64,
             ReduceOp::max);
  Speed speed{median(times), median(shares), median(bubbles), spent, {}};
  if (overlap) speed.overlap = measure_overlap(world, trainer, options, data, how.timed);
  return speed;
}

Steps steps_of(const TrainOptions& options, const TrainConfig& config, const MeshShape& mesh) {
  Steps how{options.batch_size > 0 ? options.batch_size : config.batch_size, options.micro_batches,
            options.warm_up > 0 ? options.warm_up : config.warm_up,
            options.steps > 0 ? options.steps : config.steps, {}, {}};
  how.savings.sequence_parallel = options.sequence_parallel;
  how.savings.shard_optimizer = options.shard_optimizer;
  how.traffic = {wire_of(options.gradient_type), wire_of(options.gather_type)};
  const Index stages = mesh.size_of("pp");
  if (how.micro_batches == 0) {
    how.micro_batches = 1;
    // A pass over few rows takes hardly less than one over some hundreds: it rounds, reads and adds to all
    // weights of the stage.
    constexpr Index fewest_rows = 256;
    const Index share = how.batch_size / mesh.size_of("dp");
    const Index fitting = std::max(stages, share * config.model.block_size / fewest_rows);
    const Index most = stages > 1 ? std::min({8 * stages, share, fitting}) : 1;
    for (Index count = 2; count <= most; ++count) {
      if (how.batch_size % count == 0) how.micro_batches = count;
    }
  }
  if (how.batch_size % how.micro_batches != 0) {
    throw UsageError("bench train",
                     fmt::format("{} sequences do not divide into {} micro-batches", how.batch_size,
                                 how.micro_batches),
                     "choose --grad-accum that divides --batch-size");
  }
  return how;
}

void check_training(const Communicator& world, const TrainOptions& options) {
  for (const std::string& name : options.configs) train_config(name);
  for (const std::string& type : options.types) train_precision(type);
  train_precision(options.gradient_type);
  train_precision(options.gather_type);
  if (options.steps < 0 || options.warm_up < 0) {
    throw UsageError("bench train", "--steps and --warm-up must be 0 or more");
  }
  if (options.batch_size < 0 || options.micro_batches < 0) {
    throw UsageError("bench train", "--batch-size and --grad-accum must be 0 or more");
  }
  for (const MeshShape& mesh : options.meshes) {
    for (const std::string& name : options.configs) {
      const TrainConfig& config = train_config(name);
      for (const std::string& type : options.types) {
        models::GptConfig model = config.model;
        model.precision = train_precision(type);
        models::check(options_of(model, steps_of(options, config, mesh)), mesh);
      }
    }
    if (options.overlap && (world.size() == 1 || mesh.size_of("dp") != world.size())) {
      throw UsageError("bench train", "--overlap is for meshes that divide the batch over all ranks",
                       "choose --mesh dp=" + std::to_string(world.size()));
    }
  }
}

// Of one model in one type on one mesh.
Row train_on(const Communicator& world, const TrainOptions& options, const MeshShape& shape,
             const std::string& name, const std::string& type, double peak) {
  const bool speaks = world.rank() == 0;
  const TrainConfig& config = train_config(name);
  models::GptConfig model = config.model;
  model.precision = train_precision(type);
  const Steps how = steps_of(options, config, shape);
  const Mesh mesh(world, shape);
  const Speed measured = measure_speed(world, mesh, model, how, options.overlap);
  const auto tokens = static_cast<double>(how.batch_size * model.block_size);
  const double operations = tokens * models::training_flops_per_token(model, model.block_size);
  const double bound_ms = operations / peak * 1e-6;
  const double tokens_per_s = tokens / measured.step_ms * 1e3;
  if (speaks) {
    fmt::print("{:<6} {:<5} {:>9.2f} {:>10.0f} {:>9.1f} {:>5.1f}% {:>10.2f} {:>8.0f}%\n", name, type,
               measured.step_ms, tokens_per_s, operations / measured.step_ms * 1e-6,
               100 * measured.comm_share, bound_ms, 100 * bound_ms / measured.step_ms);
    if (shape.size_of("pp") > 1) {
      fmt::print("{:>6} {} micro-batches: a stage waits {:.0f}% of its passes for others\n", "",
                 how.micro_batches, 100 * measured.bubble);
    }
    if (world.node_count() > 1) {
      fmt::print("{:>6} a node sends up to {:.1f} MB a step; {:.2f} s of processors\n", "",
                 measured.spent.sent_bytes * 1e-6, measured.spent.processor_seconds);
    }
    std::fflush(stdout);
  }
  Row row;
  row.op = "train";
  row.shape = name;
  row.algorithm = shape.text() + (options.sequence_parallel ? ", by_rows" : "");
  row.median_us = measured.step_ms * 1e3;
  row.bound_us = bound_ms * 1e3;
  row.more = {{"tokens_per_s", tokens_per_s},
              {"gflops", operations / measured.step_ms * 1e-6},
              {"comm_share", measured.comm_share},
              {"bubble", measured.bubble},
              {"batch_size", static_cast<double>(how.batch_size)},
              {"micro_batches", static_cast<double>(how.micro_batches)},
              {"processor_s", measured.spent.processor_seconds},
              {"peak_gflops", peak},
              {"threads", static_cast<double>(default_compute_threads())},
              // What was trained, for whoever predicts it.
              {"layers", static_cast<double>(model.layers)},
              {"heads", static_cast<double>(model.heads)},
              {"width", static_cast<double>(model.width)},
              {"vocabulary", static_cast<double>(model.vocabulary)},
              {"block_size", static_cast<double>(model.block_size)},
              {"parameters", static_cast<double>(models::parameter_count(model))}};
  if (world.node_count() > 1) row.more["sent_bytes"] = measured.spent.sent_bytes;
  row.notes = {{"dtype", type},
               {"gradient_dtype", options.gradient_type},
               {"gather_dtype", options.gather_type}};
  if (!measured.overlap) return row;
  const Overlap& overlap = *measured.overlap;
  if (speaks) {
    fmt::print("{:>6} taking turns: a step {:.2f} ms, without the sum of gradients {:.2f},\n"
               "{:>6} the sum alone {:.2f}; {:.2f} of it after the backward pass: {:.0f}% beside it;\n"
               "{:>6} {:.0f}% of it cost no time (what both do shares the processors)\n",
               "", overlap.with_ms, overlap.without_ms, "", overlap.sum_ms, overlap.exposed_ms,
               100 * overlap.beside(), "", 100 * overlap.hidden());
  }
  row.more["step_with_sum_us"] = overlap.with_ms * 1e3;
  row.more["step_without_sum_us"] = overlap.without_ms * 1e3;
  row.more["gradient_sum_us"] = overlap.sum_ms * 1e3;
  row.more["exposed_sum_us"] = overlap.exposed_ms * 1e3;
  row.more["beside_share"] = overlap.beside();
  row.more["hidden_share"] = overlap.hidden();
  return row;
}

}  // namespace

void train(const Communicator& world, const TrainOptions& options) {
  check_training(world, options);
  Report report(world, options.json);
  const bool speaks = world.rank() == 0;
  std::map<std::string, double> peaks;
  for (const std::string& type : options.types) peaks[type] = summed_peak(world, type);
  for (const MeshShape& mesh : options.meshes) {
    if (speaks) {
      fmt::print("mesh {}, {} thread(s) a rank, random tokens\n", mesh.text(),
                 default_compute_threads());
      fmt::print("{:<6} {:<5} {:>9} {:>10} {:>9} {:>6} {:>10} {:>9}\n", "model", "dtype", "step ms",
                 "tokens/s", "GFLOP/s", "comm", "bound ms", "of bound");
    }
    for (const std::string& type : options.types) {
      const double peak = peaks[type];
      for (const std::string& name : options.configs) {
        report.add(train_on(world, options, mesh, name, type, peak));
      }
      if (speaks) {
        fmt::print("Bound: the step's arithmetic at {:.0f} GFLOP/s, the rate of a 1536-cube {}\n"
                   "product on all ranks at once. Times are those of the slowest rank.\n",
                   peak, type);
      }
    }
  }
  report.write();
}

}  // namespace shoal::bench
