// shoal checkpoint info|verify|export
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <shoal/models/export.hpp>
#include <shoal/models/model_checkpoint.hpp>
#include <shoal/runtime/error.hpp>

#include "command.hpp"
#include "table_row.hpp"

namespace shoal::launch {
namespace {

void print_part(const std::string& label, const std::string& text) { print_row(label, text, 12); }

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char* about_checkpoint =
    "Looks into checkpoints, checks them, hands them on.\n"
    "\n"
    "  shoal checkpoint info out\n"
    "  shoal checkpoint verify out\n"
    "  shoal checkpoint export out model.safetensors --dtype bf16\n"
    "\n"
    "One process does the work, however many are started.";

constexpr const char* folder_text = "the out-dir of a training run, or one of its step-... folders";

std::string size_text(Bytes bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.2f} GB", value * 1e-9);
  if (value >= 1e6) return fmt::format("{:.1f} MB", value * 1e-6);
  return value >= 1e3 ? fmt::format("{:.1f} kB", value * 1e-3) : fmt::format("{} B", bytes);
}

Bytes bytes_of(const Checkpoint::TensorInfo& tensor) {
  return static_cast<Bytes>(tensor.shape.size()) * size_of(tensor.dtype);
}

Json to_json(const MetadataValue& value) {
  return std::visit([](const auto& plain) { return Json(plain); }, value);
}

std::string plain_text(const MetadataValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
  return fmt::format("{}", std::get<double>(value));
}

Json collect(const Checkpoint& checkpoint) {
  Json info;
  info["path"] = checkpoint.path().string();
  info["step"] = checkpoint.step();
  info["mesh"] = checkpoint.mesh();
  info["metadata"] = Json::object();
  for (const auto& [name, value] : checkpoint.metadata()) info["metadata"][name] = to_json(value);
  info["files"] = Json::array();
  for (const Checkpoint::FileInfo& file : checkpoint.files()) {
    info["files"].push_back({{"file", file.name},
                             {"bytes", file.bytes},
                             {"xxh64", fmt::format("{:016x}", file.xxh64)},
                             {"blocks", file.blocks}});
  }
  info["tensors"] = Json::object();
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    Json shape = Json::array();
    for (int dim = 0; dim < tensor.shape.dims(); ++dim) shape.push_back(tensor.shape[dim]);
    info["tensors"][name] = {{"dtype", std::string(name_of(tensor.dtype))}, {"shape", shape}};
  }
  return info;
}

std::string model_text(const Checkpoint& checkpoint) {
  const models::GptConfig config = models::config_of(checkpoint);
  return fmt::format("gpt2, {:.2f} M parameters: {} layers, {} heads, width {}, block {}, {} ids{}",
                     static_cast<double>(models::parameter_count(config)) * 1e-6, config.layers,
                     config.heads, config.width, config.block_size, config.vocabulary,
                     config.bias ? "" : ", no biases");
}

std::string tokenizer_text(const std::string& state) {
  const models::Tokenizer tokenizer = models::Tokenizer::from_state(state);
  return fmt::format("{}, {} ids", tokenizer.name(), tokenizer.vocabulary());
}

void print_info(const Checkpoint& checkpoint, bool with_tensors) {
  const Metadata& metadata = checkpoint.metadata();
  print_part("checkpoint", checkpoint.path().string());
  print_part("step", std::to_string(checkpoint.step()));
  print_part("mesh", checkpoint.mesh().empty() ? "not said" : checkpoint.mesh());
  if (metadata.count("model.architecture") > 0) print_part("model", model_text(checkpoint));
  if (metadata.count("tokenizer") > 0) {
    print_part("tokenizer", tokenizer_text(checkpoint.text("tokenizer")));
  }
  Bytes bytes = 0;
  for (const auto& [name, tensor] : checkpoint.tensors()) bytes += bytes_of(tensor);
  print_part("tensors", fmt::format("{}, {}", checkpoint.tensors().size(), size_text(bytes)));
  std::string label = "files";
  for (const Checkpoint::FileInfo& file : checkpoint.files()) {
    print_part(label, fmt::format("{:<26} {:>9}  xxh64 {:016x}", file.name, size_text(file.bytes),
                                  file.xxh64));
    label.clear();
  }
  std::string flags;
  const std::string prefix = "flag.";
  for (const auto& [name, value] : metadata) {
    if (name.rfind(prefix, 0) != 0) continue;
    flags += (flags.empty() ? "--" : " --") + name.substr(prefix.size()) + "=" + plain_text(value);
  }
  if (!flags.empty()) print_part("flags", flags);
  if (!with_tensors) return;
  fmt::print("\n");
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    fmt::print("{:<50} {:<4} {}\n", name, name_of(tensor.dtype), tensor.shape.text());
  }
}

class CheckpointCommand : public Command {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("checkpoint", about_checkpoint);
    app_->require_subcommand(1);
    info_ = add("info", "Prints what a checkpoint holds.");
    info_->add_flag("--tensors", tensors_, "name every tensor, with type and shape");
    info_->add_flag("--json", json_, "print JSON, with all metadata and tensors");
    verify_ =
        add("verify",
            "Reads all of a checkpoint and names what is wrong.\n"
            "\n"
            "The manifest, checksums, headers, and that every element of every tensor is there "
            "once. Of an out-dir: of all checkpoints in it. Status 1 if anything is wrong.");
    export_ =
        add("export",
            "Writes the weights as one safetensors file with GPT-2's usual names.\n"
            "\n"
            "Names and layout are those of Hugging Face's gpt2; biases that the model does not "
            "have are written as zeros.");
    export_->add_option("file", file_, "file to write")->type_name("FILE")->required();
    export_->add_option("--dtype", dtype_, "type of the numbers: fp32, bf16 or fp16")
        ->type_name("TYPE")
        ->check(CLI::IsMember({"fp32", "bf16", "fp16"}))
        ->type_name("TYPE")
        ->capture_default_str();
  }

  int run(Runtime& runtime) override {
    const Communicator& world = runtime.world();
    const Communicator alone = world.split(world.rank(), 0, "alone");
    if (world.rank() != 0) return 0;
    if (verify_->parsed()) return verify();
    const Checkpoint checkpoint = Checkpoint::open(alone, folder_, {.verify = export_->parsed()});
    if (info_->parsed()) {
      if (json_) {
        fmt::print("{}\n", collect(checkpoint).dump(2));
      } else {
        print_info(checkpoint, tensors_);
      }
      return 0;
    }
    const DType type = dtype_ == "bf16" ? DType::bf16 : dtype_ == "fp16" ? DType::f16 : DType::f32;
    const models::Exported done = models::export_gpt2(checkpoint, file_, type);
    fmt::print("{}: step {}, {} tensors, {} of {}\n", file_, checkpoint.step(), done.tensors,
               size_text(done.bytes), dtype_);
    return 0;
  }

 private:
  CLI::App* add(const char* name, const char* text) {
    CLI::App* sub = app_->add_subcommand(name, text);
    sub->add_option("folder", folder_, folder_text)->type_name("DIR")->required();
    return sub;
  }

  int verify() const {
    int status = 0;
    for (const fs::path& folder : checkpoint_folders(folder_)) {
      const std::vector<std::string> problems = verify_checkpoint(folder);
      for (const std::string& problem : problems) fmt::print("{}\n", problem);
      fmt::print("{}: {}\n", folder.string(),
                 problems.empty() ? "whole"
                                  : fmt::format("{} problem{}", problems.size(),
                                                problems.size() == 1 ? "" : "s"));
      if (!problems.empty()) status = 1;
    }
    return status;
  }

  CLI::App* info_ = nullptr;
  CLI::App* verify_ = nullptr;
  CLI::App* export_ = nullptr;
  std::string folder_, file_, dtype_ = "fp32";
  bool tensors_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_checkpoint_command() { return std::make_unique<CheckpointCommand>(); }

}  // namespace shoal::launch
