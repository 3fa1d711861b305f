// The flags of `shoal train`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <shoal/models/dataset.hpp>
#include <shoal/models/trainer.hpp>

namespace CLI {
class App;
}

namespace shoal::launch {

/// What the flags say, as text and numbers; the names and defaults are nanoGPT's where it has them.
struct TrainFlags {
  std::string data;
  std::string tokenizer = "char";
  Index vocab_size = 50304;

  Index n_layer = 12, n_head = 12, n_embd = 768, block_size = 1024;
  double dropout = 0, init_std = 0;
  bool bias = false;
  std::string dtype = "fp32";

  Index batch_size = 12, grad_accum = 1;
  std::int64_t max_iters = 600000;
  double learning_rate = 6e-4, min_lr = 6e-5;
  std::int64_t warmup_iters = 2000;
  std::int64_t lr_decay_iters = -1;  ///< -1: max_iters
  bool decay_lr = true;
  double weight_decay = 0.1, beta1 = 0.9, beta2 = 0.95, grad_clip = 1.0;
  std::uint64_t seed = 1337;

  std::int64_t eval_interval = 2000;
  Index eval_iters = 200;

  std::string out_dir = "out";
  std::int64_t checkpoint_interval = -1;  ///< -1: eval_interval
  int keep_checkpoints = 2;
  bool checkpoint_async = true;
  bool resume = false;

  int zero = 0;
  bool recompute = false;
  bool sequence_parallel = false;

  std::string gradient_dtype = "fp32", gather_dtype = "fp32";

  std::string mesh;
  bool dry_run = false;
  std::string log_json, progress = "auto", trace;
  std::int64_t log_interval = 10;

  models::DatasetOptions dataset() const;
  /// For a data set of `vocabulary` ids.
  models::TrainOptions training(Index vocabulary) const;
};

/// Adds the flags to a command line; parsing it fills `flags`.
void add_flags(CLI::App& app, TrainFlags& flags);

/// What describes the run, not the place it runs in, as metadata for its checkpoints: each flag as
/// text under "flag.NAME". Where the command line is silent, `earlier` (of the checkpoint that the
/// run goes on from) speaks.
Metadata saved_flags(const CLI::App& app, const TrainFlags& flags, const Metadata& earlier);
/// The flags of the run that `metadata` comes from, save those that the command line `app` gives.
TrainFlags resumed_flags(const CLI::App& app, const TrainFlags& given, const Metadata& metadata);

}  // namespace shoal::launch
