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

GptConfig config_from(const Checkpoint& checkpoint) {
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
  return config;
}

// Of the ranks with the same block one writes it: dp replicas hold the same, and so do the tp ranks
// for what is not divided over tp.
bool owns(const Mesh& mesh, const Parameter& parameter) {
  return mesh.coordinate("dp") == 0 && (parameter.sharded || mesh.coordinate("tp") == 0);
}

void read_blocks(const Checkpoint& checkpoint, const Gpt& model, const std::string& prefix,
                 std::span<float> to) {
  for (const Parameter& parameter : model.parameter_list()) {
    checkpoint.read(prefix + parameter.name, parameter.block, to.data() + parameter.offset,
                    DType::f32);
  }
}

}  // namespace

void save_model(const std::filesystem::path& root, Gpt& model, const ModelState& state) {
  const Mesh& mesh = model.mesh();
  std::vector<TensorSlice> slices;
  const auto add = [&](const std::string& prefix, const float* from) {
    for (const Parameter& parameter : model.parameter_list()) {
      slices.push_back({prefix + parameter.name, DType::f32, parameter.global, parameter.block,
                        from + parameter.offset, owns(mesh, parameter)});
    }
  };
  add("", model.parameters().data());
  Metadata metadata = state.metadata;
  metadata.merge(describe(model.config()));
  if (state.optimizer != nullptr) {
    add(first_moment_name, state.optimizer->first_moment().data());
    add(second_moment_name, state.optimizer->second_moment().data());
    metadata["optimizer.steps"] = state.optimizer->steps();
  }
  if (state.tokenizer != nullptr) metadata["tokenizer"] = state.tokenizer->state();
  save_checkpoint(mesh.all(), root, state.step, slices, metadata,
                  {state.keep_last, mesh.shape().text()});
}

ModelCheckpoint::ModelCheckpoint(Checkpoint checkpoint, const GptConfig& config,
                                 Tokenizer tokenizer)
    : checkpoint_(std::move(checkpoint)), config_(config), tokenizer_(std::move(tokenizer)) {}

ModelCheckpoint ModelCheckpoint::open(const Communicator& world,
                                      const std::filesystem::path& path) {
  Checkpoint checkpoint = Checkpoint::open(world, path);
  const GptConfig config = config_from(checkpoint);
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
