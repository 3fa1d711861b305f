// Law: cross-entropy over divided logits equals the definition in double precision, and so does its
// gradient; a NaN in one rank's logits reaches every rank.
#include <shoal/kernels/parallel/cross_entropy.hpp>

#include <limits>

#include "twin.hpp"

namespace shoal::testing {
namespace {

constexpr Index rows = 23;

class ParallelCrossEntropy : public ::testing::TestWithParam<Index> {};

TEST_P(ParallelCrossEntropy, EqualsDefinition) {
  const Index vocabulary = GetParam();
  std::mt19937_64 random = generator();
  Matrix logits = random_matrix(random, rows * vocabulary);
  for (float& value : logits) value *= 5.0f;
  std::uniform_int_distribution<std::int32_t> any(0, static_cast<std::int32_t>(vocabulary - 1));
  std::vector<std::int32_t> targets(rows);
  for (auto& target : targets) target = any(random);
  const double scale = 0.25;

  double expected = 0;
  Matrix gradient(logits.size());
  for (Index row = 0; row < rows; ++row) {
    const float* of_row = logits.data() + row * vocabulary;
    double sum = 0;
    for (Index i = 0; i < vocabulary; ++i) sum += std::exp(double{of_row[i]});
    const Index target = targets[static_cast<std::size_t>(row)];
    expected += std::log(sum) - double{of_row[target]};
    for (Index i = 0; i < vocabulary; ++i) {
      gradient[static_cast<std::size_t>(row * vocabulary + i)] = static_cast<float>(
          scale * (std::exp(double{of_row[i]}) / sum - (i == target ? 1.0 : 0.0)));
    }
  }

  kernels::VocabParallelCrossEntropy layer(world(), vocabulary);
  Matrix local = cols_of(logits, vocabulary, layer.ids());
  const double loss = layer.forward(rows, local.data(), targets.data());
  EXPECT_NEAR(loss, expected, rows * 0x1p-22 * 25);
  layer.backward(rows, local.data(), targets.data(), scale);
  expect_close(local, cols_of(gradient, vocabulary, layer.ids()), vocabulary, "gradient");
}

TEST_P(ParallelCrossEntropy, NanReachesEveryRank) {
  const Index vocabulary = GetParam();
  kernels::VocabParallelCrossEntropy layer(world(), vocabulary);
  Matrix local(static_cast<std::size_t>(rows * layer.ids().size), 0.5f);
  if (world().rank() == world().size() - 1) local[0] = std::nanf("");
  const std::vector<std::int32_t> targets(rows, 0);
  EXPECT_TRUE(std::isnan(layer.forward(rows, local.data(), targets.data())));
}

TEST_P(ParallelCrossEntropy, MinusInfinityIsAnImpossibleToken) {
  const Index vocabulary = GetParam();
  kernels::VocabParallelCrossEntropy layer(world(), vocabulary);
  // Only id 0 is possible, so its probability is 1 and the loss 0.
  Matrix local(static_cast<std::size_t>(rows * layer.ids().size),
               -std::numeric_limits<float>::infinity());
  if (layer.ids().begin == 0) {
    for (Index row = 0; row < rows; ++row) {
      local[static_cast<std::size_t>(row * layer.ids().size)] = 3.0f;
    }
  }
  const std::vector<std::int32_t> targets(rows, 0);
  EXPECT_NEAR(layer.forward(rows, local.data(), targets.data()), 0.0, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, ParallelCrossEntropy, ::testing::Values(8, 65, 1000));

}  // namespace
}  // namespace shoal::testing
