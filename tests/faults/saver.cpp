// saver FATE OUT [sync]: trains a little, and fate strikes when the ranks begin to write the checkpoint
// of step 4: the last rank, or the folder. What then happens is for saving_test.sh to judge.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <shoal/models/trainer.hpp>
#include <shoal/runtime/runtime.hpp>

namespace shoal::models {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

Dataset data() {
  std::string text;
  while (text.size() < 2000) text += "many fish swim in a shoal\n";
  const Tokenizer tokenizer = Tokenizer::characters(text);
  const auto tokens = tokenizer.encode_compact(text);
  const auto cut = tokens.begin() + 1800;
  return Dataset(tokenizer, {tokens.begin(), cut}, {cut, tokens.end()}, 16);
}

int run(Runtime& runtime, const std::string& fate, const fs::path& out, bool async) {
  const Communicator& world = runtime.world();
  const Mesh mesh(world, {{{"dp", world.size()}}});
  const Dataset text = data();
  TrainOptions options;
  options.model.vocabulary = text.tokenizer().vocabulary();
  options.model.block_size = text.block_size();
  options.model.layers = 1;
  options.model.heads = 2;
  options.model.width = 16;
  options.batch_size = world.size();
  options.max_iters = 8;
  options.eval_interval = 0;
  options.out_dir = out;
  options.checkpoint_interval = 4;
  options.async_checkpoints = async;
  Trainer trainer(options, mesh, text);

  const bool last = world.rank() == world.size() - 1;
  Trainer::Callbacks callbacks;
  callbacks.on_step = [&](const StepReport& report) {
    const std::int64_t steps = report.step + 1;
    if (last && steps == 4) {
      if (fate == "hang") std::this_thread::sleep_for(1h);
      if (fate == "stop") std::raise(SIGSTOP);
      if (fate == "kill") {
        std::this_thread::sleep_for(500ms);  // the others have come to where they wait
        std::raise(SIGKILL);
      }
    }
    if (world.rank() != 0 || fate != "blocked") return;
    // No folder can be made where a file stands, whoever asks.
    if (steps == 4) {
      fs::remove_all(out);
      std::ofstream(out) << "in the way";
    }
    if (steps == 6) fs::remove(out);
  };
  trainer.run(callbacks);
  if (world.rank() == 0) std::printf("all steps done\n");
  return 0;
}

}  // namespace
}  // namespace shoal::models

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const bool async = argc < 4;
  return shoal::run_main({}, [&](shoal::Runtime& runtime) {
    return shoal::models::run(runtime, argv[1], argv[2], async);
  });
}
