#include <shoal/models/model_checkpoint.hpp>

#include <span>
#include <utility>
#include <vector>

#include <shoal/runtime/error.hpp>

namespace shoal::models {
namespace {

// Names as PyTorch's AdamW has them.
constexpr const char* first_moment_name = "optimizer.exp_avg.";
constexpr const char* second_moment_name = "optimizer.exp_avg_sq.";

Metadata describe(const GptConfig& config) {
  return {{"model.architecture", std::string("gpt2")},
          {"model.vocabulary", config.vocabulary},
          {"model.block_size", config.block_size},
          {"model.layers", config.layers},
          {"model.heads", config.heads},
          {"model.width", config.width},
          {"model.bias", std::int64_t{config.bias ? 1 : 0}},
          {"model.dropout", static_cast<double>(config.dropout)},
          {"model.precision",
           std::string(config.precision == kernels::Precision::bf16 ? "bf16" : "fp32")}};
}

// Divides what several ranks hold alike, so that all of them write: dp replicas hold the same, and
// so do the tp ranks for what is not divided over tp. Every rank comes to the same division.
class Shares {
 public:
  explicit Shares(const Mesh& mesh)
      : dp_(mesh.axis("dp").size()),
        tp_(mesh.axis("tp").size()),
        dp_rank_(mesh.coordinate("dp")),
        tp_rank_(mesh.coordinate("tp")),
        load_(static_cast<std::size_t>(dp_ * tp_)) {}

  /// Adds this rank's slice of a tensor whose block lies at `data`: all of it, a part of its rows,
  /// or, as one that another rank owns, nothing.
  void add(std::vector<TensorSlice>& slices, const std::string& name, const Parameter& parameter,
           const float* data) {
    TensorSlice slice{name, DType::f32, parameter.global, parameter.block, data, true};
    const int holders = parameter.sharded ? dp_ : dp_ * tp_;
    const int mine = parameter.sharded ? dp_rank_ : dp_rank_ * tp_ + tp_rank_;
    Block& rows = slice.block[0];
    const Index row = rows.size == 0 ? 0 : parameter.size / rows.size;
    if (holders > 1 && parameter.global.size() >= divided_from &&
        parameter.global[0] >= 16 * dp_ * tp_) {
      const Block part = block_of(rows.size, holders, mine);
      slice.data = data + part.begin * row;
      rows = {rows.begin + part.begin, part.size};
      slice.owner = part.size > 0;
    } else {
      slice.owner = mine == take(parameter, holders);
    }
    slices.push_back(std::move(slice));
  }

 private:
  static constexpr Index divided_from = Index{1} << 20;

  // The holder with the least to write so far takes it. Loads are counted alike on every rank, also
  // where blocks differ by a row or a head.
  int take(const Parameter& parameter, int holders) {
    const int ranks_each = parameter.sharded ? tp_ : 1;
    int best = 0;
    for (int holder = 1; holder < holders; ++holder) {
      if (load(holder, ranks_each) < load(best, ranks_each)) best = holder;
    }
    for (int i = 0; i < ranks_each; ++i) {
      load_[static_cast<std::size_t>(best * ranks_each + i)] +=
          parameter.global.size() / ranks_each;
    }
    return best;
  }
  Index load(int holder, int ranks_each) const {
    return load_[static_cast<std::size_t>(holder * ranks_each)];
  }

  int dp_, tp_, dp_rank_, tp_rank_;
  std::vector<Index> load_;  // elements, by dp_rank * tp + tp_rank
};

std::vector<TensorSlice> slices_of(Gpt& model, Optimizer* optimizer) {
  std::vector<TensorSlice> slices;
  Shares shares(model.mesh());
  const auto add = [&](const std::string& prefix, const float* from) {
    for (const Parameter& parameter : model.parameter_list()) {
      shares.add(slices, prefix + parameter.name, parameter, from + parameter.offset);
    }
  };
  add("", model.parameters().data());
  if (optimizer != nullptr) {
    add(first_moment_name, optimizer->first_moment().data());
    add(second_moment_name, optimizer->second_moment().data());
  }
  return slices;
}

Metadata metadata_of(const Gpt& model, const ModelState& state) {
  Metadata metadata = state.metadata;
  metadata.merge(describe(model.config()));
  if (state.optimizer != nullptr) metadata["optimizer.steps"] = state.optimizer->steps();
  if (state.tokenizer != nullptr) metadata["tokenizer"] = state.tokenizer->state();
  return metadata;
}

void read_blocks(const Checkpoint& checkpoint, const Gpt& model, const std::string& prefix,
                 std::span<float> to) {
  for (const Parameter& parameter : model.parameter_list()) {
    checkpoint.read(prefix + parameter.name, parameter.block, to.data() + parameter.offset,
                    DType::f32);
  }
}

}  // namespace

GptConfig config_of(const Checkpoint& checkpoint) {
  if (checkpoint.text("model.architecture") != "gpt2") {
    throw UsageError("opening " + checkpoint.path().string(),
                     "it holds a " + checkpoint.text("model.architecture") + ", not a gpt2");
  }
  GptConfig config;
  config.vocabulary = checkpoint.integer("model.vocabulary");
  config.block_size = checkpoint.integer("model.block_size");
  config.layers = checkpoint.integer("model.layers");
  config.heads = checkpoint.integer("model.heads");
  config.width = checkpoint.integer("model.width");
  config.bias = checkpoint.integer("model.bias") != 0;
  config.dropout = static_cast<float>(checkpoint.number("model.dropout"));
  config.precision = checkpoint.text("model.precision") == "bf16" ? kernels::Precision::bf16
                                                                  : kernels::Precision::fp32;
  const auto refuse = [&](const std::string& problem) {
    throw UsageError("opening " + checkpoint.path().string(), problem, "use another checkpoint");
  };
  try {
    check(config, 1);
  } catch (const UsageError& failure) {
    refuse("it holds no model that can be: " + failure.message());
  }
  // Before anyone makes a list of them.
  if (config.layers > static_cast<Index>(checkpoint.tensors().size())) {
    refuse("it names " + std::to_string(config.layers) + " layers and holds " +
           std::to_string(checkpoint.tensors().size()) + " tensors");
  }
  return config;
}

void save_model(const std::filesystem::path& root, Gpt& model, const ModelState& state) {
  save_checkpoint(model.mesh().all(), root, state.step, slices_of(model, state.optimizer),
                  metadata_of(model, state), {state.keep_last, model.mesh().shape().text()});
}

void start_saving(CheckpointWriter& writer, const std::filesystem::path& root, Gpt& model,
                  const ModelState& state) {
  writer.start(root, state.step, slices_of(model, state.optimizer), metadata_of(model, state),
               {state.keep_last, model.mesh().shape().text()});
}

Bytes copy_bytes(Gpt& model, Optimizer* optimizer) {
  return CheckpointWriter::copy_bytes(slices_of(model, optimizer));
}

ModelCheckpoint::ModelCheckpoint(Checkpoint checkpoint, const GptConfig& config,
                                 Tokenizer tokenizer)
    : checkpoint_(std::move(checkpoint)), config_(config), tokenizer_(std::move(tokenizer)) {}

ModelCheckpoint ModelCheckpoint::open(const Communicator& world,
                                      const std::filesystem::path& path) {
  Checkpoint checkpoint = Checkpoint::open(world, path);
  const GptConfig config = config_of(checkpoint);
  Tokenizer tokenizer = Tokenizer::from_state(checkpoint.text("tokenizer"));
  return ModelCheckpoint(std::move(checkpoint), config, std::move(tokenizer));
}

void ModelCheckpoint::load(Gpt& model) const {
  // Dropout and precision may change from run to run, and how weights began is past; their form may
  // not change.
  GptConfig expected = config_;
  expected.dropout = model.config().dropout;
  expected.precision = model.config().precision;
  expected.init_std = model.config().init_std;
  if (!(model.config() == expected)) {
    const auto form = [](const GptConfig& config) {
      return std::to_string(config.layers) + " layers, " + std::to_string(config.heads) +
             " heads, width " + std::to_string(config.width) + ", block size " +
             std::to_string(config.block_size) + ", vocabulary " +
             std::to_string(config.vocabulary) + (config.bias ? ", biases" : ", no biases");
    };
    throw UsageError("loading " + path().string(),
                     "it holds a model of " + form(config_) + ", not of " + form(model.config()),
                     "use the checkpoint's sizes, or start a new run in another --out-dir");
  }
  read_blocks(checkpoint_, model, "", model.parameters());
}

void ModelCheckpoint::load(Gpt& model, Optimizer& optimizer) const {
  read_blocks(checkpoint_, model, first_moment_name, optimizer.first_moment());
  read_blocks(checkpoint_, model, second_moment_name, optimizer.second_moment());
  optimizer.set_steps(checkpoint_.integer("optimizer.steps"));
}

}  // namespace shoal::models
