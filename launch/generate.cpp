// shoal generate
#include <cstdio>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <shoal/models/generate.hpp>
#include <shoal/models/model_checkpoint.hpp>
#include <shoal/models/stage.hpp>
#include <shoal/runtime/error.hpp>

#include "command.hpp"
#include "default_mesh.hpp"

namespace shoal::launch {
namespace {

constexpr const char* about_generate =
    "Lets a trained model continue a text.\n"
    "\n"
    "  shoal generate --checkpoint out --prompt \"To be\"\n"
    "\n"
    "Works on any mesh, whatever mesh the model was trained on; the text is the same.";

class GenerateCommand : public Command {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("generate", about_generate);
    const auto add = [&](const char* name, auto& value, const char* type, const char* text) {
      return app_->add_option(name, value, text)->type_name(type)->capture_default_str();
    };
    add("--checkpoint", checkpoint_, "DIR",
        "the out-dir of a training run (its newest checkpoint), or one of its step-... folders")
        ->required();
    add("--prompt", prompt_, "TEXT", "text to continue; default: a line break")->default_str("");
    add("--max-new-tokens", options_.tokens, "N", "tokens to write");
    add("--temperature", options_.temperature, "X",
        "below 1: likelier tokens; above: more variety; 0: always the likeliest");
    add("--top-k", options_.top_k, "N", "choose among the N likeliest tokens; 0: all");
    add("--seed", options_.seed, "N", "of the random choice");
    add("--mesh", mesh_, "dp=N,tp=N,pp=N",
        "layout of the ranks; default: tp as large as divides ranks and heads")
        ->default_str("");
    add("--trace", trace_file_, "FILE", "write a Chrome/Perfetto trace of all ranks")
        ->default_str("");
  }

  int run(Runtime& runtime) override {
    const Communicator& world = runtime.world();
    const auto checkpoint = models::ModelCheckpoint::open(world, checkpoint_);
    const models::Tokenizer& tokenizer = checkpoint.tokenizer();
    const std::vector<std::int32_t> prompt = encode_prompt(tokenizer);
    models::GptConfig config = checkpoint.config();
    config.dropout = 0;
    const MeshShape shape = choose_mesh(mesh_, world.size(), config.heads);
    models::check(config, shape.size_of("tp"));
    models::divide_into_stages(config, shape.size_of("pp"));
    const Mesh mesh(world, shape);
    models::Gpt model(config, mesh, 0);
    checkpoint.load(model);

    const bool speaks = world.rank() == 0;
    const auto show = [&](std::span<const std::int32_t> tokens) {
      if (!speaks) return;
      const std::string text = tokenizer.decode(tokens);
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
    };
    show(prompt);
    models::generate(model, prompt, options_, [&](std::int32_t token) { show({&token, 1}); });
    if (speaks) std::fputs("\n", stdout);
    return 0;
  }

 private:
  std::vector<std::int32_t> encode_prompt(const models::Tokenizer& tokenizer) const {
    if (app_->count("--prompt") > 0) return tokenizer.encode(prompt_);
    if (tokenizer.kind() != models::Tokenizer::Kind::ids && tokenizer.knows("\n")) {
      return tokenizer.encode("\n");
    }
    return {0};
  }

  std::string checkpoint_, prompt_, mesh_;
  models::GenerateOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_generate_command() { return std::make_unique<GenerateCommand>(); }

}  // namespace shoal::launch
