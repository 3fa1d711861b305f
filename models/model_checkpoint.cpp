#include <shoal/models/model_checkpoint.hpp>

#include <span>
#include <utility>
#include <vector>

#include <shoal/runtime/error.hpp>

#include "checkpoint_shares.hpp"

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

std::vector<Share> moment_shares(CheckpointShares& shares, const std::string& prefix,
                                 const Gpt& model) {
  return model.shards_optimizer()
             ? shares.of_owned(prefix, model.parameter_list(), model.owned())
             : shares.of_replicas(prefix, model.parameter_list());
}

std::vector<TensorSlice> slices_of(Gpt& model, Optimizer* optimizer) {
  std::vector<TensorSlice> slices;
  CheckpointShares shares(place_on(model.mesh()));
  const auto add = [&](std::vector<Share> array, std::span<const float> data) {
    for (Share& share : array) {
      share.slice.data = data.data() + share.offset;
      slices.push_back(std::move(share.slice));
    }
  };
  if (model.masters().empty()) {
    add(shares.of_replicas("", model.parameter_list()), model.parameters());
  } else {
    add(shares.of_owned("", model.parameter_list(), model.owned()), model.masters());
  }
  if (optimizer != nullptr) {
    add(moment_shares(shares, first_moment_name, model), optimizer->first_moment());
    add(moment_shares(shares, second_moment_name, model), optimizer->second_moment());
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

void read_moments(const Checkpoint& checkpoint, const Gpt& model, const std::string& prefix,
                  std::span<float> to) {
  const CheckpointShares shares(place_on(model.mesh()));
  for (const Share& share : shares.of_owned(prefix, model.parameter_list(), model.owned())) {
    checkpoint.read(share.slice.name, share.slice.block, to.data() + share.offset, DType::f32);
  }
}

void read_weights(const Checkpoint& checkpoint, const Gpt& model, std::span<float> to) {
  for (const Parameter& parameter : model.parameter_list()) {
    checkpoint.read(parameter.name, parameter.block, to.data() + parameter.offset, DType::f32);
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
  read_weights(checkpoint_, model, model.parameters());
  model.adopt_parameters();
}

void ModelCheckpoint::load(Gpt& model, Optimizer& optimizer) const {
  read_moments(checkpoint_, model, first_moment_name, optimizer.first_moment());
  read_moments(checkpoint_, model, second_moment_name, optimizer.second_moment());
  optimizer.set_steps(checkpoint_.integer("optimizer.steps"));
}

}  // namespace shoal::models
