#include "train_flags.hpp"

#include <set>

#include <CLI/CLI.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::launch {
namespace {

// A typing error should not ask for more memory than there is in the world.
constexpr Index largest_size = Index{1} << 20;
constexpr const char* flag_prefix = "flag.";

// Where a run goes on may be another machine, folder or mesh.
bool describes_the_run(const std::string& name) {
  static const std::set<std::string> place = {"resume",   "out-dir",  "mesh",         "log-json",
                                              "progress", "trace",    "log-interval", "help",
                                              "dry-run"};
  return place.count(name) == 0;
}

}  // namespace

void add_flags(CLI::App& app, TrainFlags& flags) {
  const char* group = "Data";
  const auto add = [&](const std::string& name, auto& value, const char* type,
                       const char* text) -> CLI::Option* {
    return app.add_option("--" + name, value, text)
        ->group(group)
        ->type_name(type)
        ->capture_default_str();
  };
  const auto add_size = [&](const std::string& name, Index& value, const char* text) {
    add(name, value, "N", text)->check(CLI::Range(Index{1}, largest_size))->type_name("N");
  };
  const auto add_switch = [&](const std::string& name, bool& value, const char* text) {
    add(name, value, "true|false", text)->default_str(value ? "true" : "false");
  };
  add("data", flags.data, "PATH",
      "text file, directory of text files, directory with nanoGPT's train.bin and val.bin, or a "
      ".bin file of 16-bit token ids; the last 10% validate")
      ->default_str("");
  add("tokenizer", flags.tokenizer, "KIND", "char: one id a character; byte: one id a byte")
      ->check(CLI::IsMember({"char", "byte"}))
      ->type_name("KIND");
  add_size("vocab-size", flags.vocab_size, "number of token ids, for .bin data");

  group = "Model";
  add_size("n-layer", flags.n_layer, "transformer blocks");
  add_size("n-head", flags.n_head, "attention heads; the mesh's tp must divide them");
  add_size("n-embd", flags.n_embd, "width of the model; a multiple of n-head");
  add_size("block-size", flags.block_size, "tokens of a sequence");
  add("dropout", flags.dropout, "P", "probability of dropout");
  add("init-std", flags.init_std, "X",
      "deviation of the initial weights; 0: GPT-2's 0.02, times sqrt(768/n-embd) (nanoGPT: 0.02)");
  add_switch("bias", flags.bias, "biases in linear layers and layer norms");
  add("dtype", flags.dtype, "TYPE",
      "fp32, or bf16: matrix products of bf16 operands, summed in fp32")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->type_name("TYPE");

  group = "Training";
  add_size("batch-size", flags.batch_size, "sequences of a micro-step, over all ranks together");
  add_size("grad-accum", flags.grad_accum,
           "micro-steps of a step, and a pipeline's micro-batches (nanoGPT's own default is 40)");
  add("max-iters", flags.max_iters, "N", "steps");
  add("learning-rate", flags.learning_rate, "X", "largest learning rate");
  add("min-lr", flags.min_lr, "X", "learning rate after the decay");
  add("warmup-iters", flags.warmup_iters, "N", "steps of linear warm-up");
  add("lr-decay-iters", flags.lr_decay_iters, "N",
      "step at which the cosine decay ends; default: max-iters")
      ->default_str("");
  add_switch("decay-lr", flags.decay_lr,
             "warm up and decay the learning rate; false: keep it constant");
  add("weight-decay", flags.weight_decay, "X", "AdamW's decay, of matrices only");
  add("beta1", flags.beta1, "X", "AdamW's first moment");
  add("beta2", flags.beta2, "X", "AdamW's second moment");
  add("grad-clip", flags.grad_clip, "X", "largest norm of the gradient; 0: no clipping");
  add("seed", flags.seed, "N", "of weights, batches and dropout");

  group = "Memory";
  add("zero", flags.zero, "0|1",
      "1: each dp rank has a part of the optimizer's state, and updates that part (ZeRO-1)")
      ->check(CLI::IsMember({0, 1}))
      ->type_name("0|1");
  app.add_flag("--recompute", flags.recompute,
               "keep only the inputs of the blocks for the backward pass, and make the rest again: a "
               "third more work")
      ->group(group);

  app.add_flag("--sequence-parallel", flags.sequence_parallel,
               "each tp rank has some of the rows between the parallel layers, not all: less memory, and "
               "norms and residuals are divided, too")
      ->group(group);

  group = "Traffic";
  const auto add_wire = [&](const std::string& name, std::string& value, const char* text) {
    add(name, value, "TYPE", text)->check(CLI::IsMember({"fp32", "bf16"}))->type_name("TYPE");
  };
  add_wire("gradient-dtype", flags.gradient_dtype,
           "in which gradients travel between dp ranks: fp32, or bf16 for half the bytes; they are added "
           "in fp32");
  add_wire("gather-dtype", flags.gather_dtype,
           "in which new weights travel, with --zero 1: fp32, or with --dtype bf16 bf16 for half the bytes; "
           "who updates a weight keeps it in fp32");

  group = "Evaluation";
  add("eval-interval", flags.eval_interval, "N", "steps between evaluations; 0: none");
  add_size("eval-iters", flags.eval_iters, "batches of an evaluation");

  group = "Checkpoints";
  add("out-dir", flags.out_dir, "DIR", "folder of the checkpoints, seen by all hosts");
  add("checkpoint-interval", flags.checkpoint_interval, "N",
      "steps between checkpoints; 0: only at the end; default: eval-interval")
      ->default_str("");
  add("keep-checkpoints", flags.keep_checkpoints, "N", "checkpoints that stay");
  add_switch("checkpoint-async", flags.checkpoint_async,
             "write them from a copy in memory while training goes on");
  app.add_flag("--resume", flags.resume,
               "go on from the newest checkpoint in out-dir, on any mesh; flags that are not given "
               "are those of the run that wrote it")
      ->group(group);

  group = "Ranks and output";
  add("mesh", flags.mesh, "dp=N,tp=N,pp=N",
      "data- and tensor-parallel ranks, and stages of a pipeline, whose micro-batches are the "
      "micro-steps; auto: the quickest of dp and tp by the planner (shoal tune); default: tp as large "
      "as divides ranks and heads")
      ->default_str("");
  app.add_flag("--dry-run", flags.dry_run,
               "say what would be done and which memory it would take, and do nothing")
      ->group(group);
  add("log-json", flags.log_json, "FILE", "write one JSON object a step")->default_str("");
  add("log-interval", flags.log_interval, "N", "steps between lines, where there is no bar")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  add("progress", flags.progress, "KIND", "auto: a bar on a terminal; bar; plain: lines")
      ->check(CLI::IsMember({"auto", "bar", "plain"}))
      ->type_name("KIND");
  add("trace", flags.trace, "FILE", "write a Chrome/Perfetto trace of all ranks")->default_str("");
}

models::DatasetOptions TrainFlags::dataset() const {
  models::DatasetOptions options;
  options.path = data;
  options.tokenizer = tokenizer == "byte" ? models::Tokenizer::Kind::byte
                                          : models::Tokenizer::Kind::character;
  options.vocabulary = vocab_size;
  options.block_size = block_size;
  return options;
}

models::TrainOptions TrainFlags::training(Index vocabulary) const {
  models::TrainOptions options;
  options.model.vocabulary = vocabulary;
  options.model.block_size = block_size;
  options.model.layers = n_layer;
  options.model.heads = n_head;
  options.model.width = n_embd;
  options.model.bias = bias;
  options.model.init_std = static_cast<float>(init_std);
  options.model.dropout = static_cast<float>(dropout);
  options.model.precision =
      dtype == "bf16" ? kernels::Precision::bf16 : kernels::Precision::fp32;
  options.savings.shard_optimizer = zero == 1;
  options.savings.recompute = recompute;
  options.savings.sequence_parallel = sequence_parallel;
  const auto wire = [](const std::string& type) {
    return type == "bf16" ? DType::bf16 : DType::f32;
  };
  options.traffic = {wire(gradient_dtype), wire(gather_dtype)};
  options.optimizer.beta1 = static_cast<float>(beta1);
  options.optimizer.beta2 = static_cast<float>(beta2);
  options.optimizer.weight_decay = static_cast<float>(weight_decay);
  options.optimizer.clip = static_cast<float>(grad_clip);
  options.learning_rate.peak = learning_rate;
  options.learning_rate.smallest = min_lr;
  options.learning_rate.warmup_steps = warmup_iters;
  options.learning_rate.decay_steps = lr_decay_iters < 0 ? max_iters : lr_decay_iters;
  options.learning_rate.decay = decay_lr;
  options.batch_size = batch_size;
  options.grad_accum = grad_accum;
  options.max_iters = max_iters;
  options.eval_interval = eval_interval;
  options.eval_iters = eval_iters;
  options.seed = seed;
  options.out_dir = out_dir;
  options.checkpoint_interval = checkpoint_interval < 0 ? eval_interval : checkpoint_interval;
  options.keep_checkpoints = keep_checkpoints;
  options.async_checkpoints = checkpoint_async;
  return options;
}

Metadata saved_flags(const CLI::App& app, const TrainFlags& flags, const Metadata& earlier) {
  Metadata saved;
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_single_name();
    if (!describes_the_run(name)) continue;
    const std::string key = flag_prefix + name;
    const auto before = earlier.find(key);
    if (option->count() > 0) {
      saved[key] = option->results().back();
    } else if (before != earlier.end()) {
      saved.insert(*before);
    } else if (!option->get_default_str().empty()) {
      saved[key] = option->get_default_str();
    }
  }
  // Fixed by the first run: going on for longer must not bend the curve that is behind.
  saved[std::string(flag_prefix) + "lr-decay-iters"] =
      std::to_string(flags.lr_decay_iters < 0 ? flags.max_iters : flags.lr_decay_iters);
  return saved;
}

TrainFlags resumed_flags(const CLI::App& app, const TrainFlags& given, const Metadata& metadata) {
  TrainFlags flags = given;
  CLI::App again;
  add_flags(again, flags);
  std::vector<std::string> words;  // CLI11 takes them last first
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_single_name();
    if (!describes_the_run(name) || option->count() > 0) continue;
    const auto saved = metadata.find(flag_prefix + name);
    if (saved == metadata.end()) continue;
    if (const auto* text = std::get_if<std::string>(&saved->second)) {
      words.push_back("--" + name + "=" + *text);
    }
  }
  try {
    again.parse(words);
  } catch (const CLI::ParseError& error) {
    throw UsageError("--resume", std::string("the checkpoint's flags are not understood: ") +
                                     error.what(),
                     "give all flags of the run anew");
  }
  return flags;
}

}  // namespace shoal::launch
