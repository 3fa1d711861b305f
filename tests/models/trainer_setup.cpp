#include "trainer_setup.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

namespace shoal::models::testing {

Dataset small_data(Index block_size) {
  auto random = shoal::testing::generator();
  const char* words[] = {"fish ", "swim ", "in ", "a ", "shoal, ", "and ", "many ", "are\n"};
  std::string text;
  while (text.size() < 5000) text += words[random() % 8];
  const Tokenizer tokenizer = Tokenizer::characters(text);
  const auto tokens = tokenizer.encode_compact(text);
  const auto cut = tokens.begin() + 4500;
  return Dataset(tokenizer, {tokens.begin(), cut}, {cut, tokens.end()}, block_size);
}

TrainOptions small_run(const Dataset& data) {
  TrainOptions options;
  options.model.vocabulary = data.tokenizer().vocabulary();
  options.model.block_size = data.block_size();
  options.model.layers = 2;
  options.model.heads = 4;
  options.model.width = 32;
  options.learning_rate = {1e-2, 1e-3, 5, 50, true};
  options.batch_size = 8;
  options.max_iters = 50;
  options.eval_interval = 0;
  options.eval_iters = 2;
  options.seed = shoal::testing::seed();
  return options;
}

std::vector<MeshShape> meshes(int ranks) {
  std::vector<MeshShape> shapes;
  for (const int tp : {1, 2, 4}) {
    if (ranks % tp == 0 && ranks / tp <= 8) shapes.push_back({{{"dp", ranks / tp}, {"tp", tp}}});
  }
  return shapes;
}

std::vector<MeshShape> pipelines(int ranks, Index layers) {
  std::vector<MeshShape> shapes;
  for (int pp = 2; pp <= std::min<Index>(ranks, layers); ++pp) {
    for (const int tp : {1, 2, 4}) {
      if (ranks % (pp * tp) != 0) continue;
      shapes.push_back({{{"pp", pp}, {"dp", ranks / pp / tp}, {"tp", tp}}});
    }
  }
  return shapes;
}

Log train(Trainer& trainer) {
  Log log;
  Trainer::Callbacks callbacks;
  callbacks.on_step = [&](const StepReport& report) {
    if (report.loss) log.losses.push_back(*report.loss);
    if (report.val_loss) log.validation_losses.push_back(*report.val_loss);
  };
  trainer.run(callbacks);
  return log;
}

Log train(const TrainOptions& options, const Mesh& mesh, const Dataset& data) {
  Trainer trainer(options, mesh, data);
  return train(trainer);
}

void expect_close(const std::vector<double>& got, const std::vector<double>& expected,
                  double relative, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], expected[i], relative * std::abs(expected[i])) << what << ", at " << i;
  }
}

SharedFolder::SharedFolder() {
  const Communicator& world = shoal::testing::world();
  std::string name = (std::filesystem::temp_directory_path() / "shoal_models_XXXXXX").string();
  if (world.rank() == 0 && mkdtemp(name.data()) == nullptr) {
    throw std::runtime_error("mkdtemp " + name);
  }
  broadcast(world, name.data(), static_cast<Index>(name.size()), DType::i8, 0);
  path_ = name;
}

SharedFolder::~SharedFolder() {
  barrier(shoal::testing::world());
  if (shoal::testing::world().rank() != 0) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace shoal::models::testing
