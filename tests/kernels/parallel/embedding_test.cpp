// Law: an embedding table divided by token id, evenly or not, looks up what the whole table holds.
#include <shoal/kernels/parallel/embedding.hpp>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>

#include "twin.hpp"

namespace shoal::testing {
namespace {

class ParallelEmbedding : public ::testing::TestWithParam<Index> {};

TEST_P(ParallelEmbedding, EqualsWholeTable) {
  const Index vocabulary = GetParam();
  const Index width = 13;
  const Index rows = 57;
  std::mt19937_64 random = generator();
  const Matrix table = random_matrix(random, vocabulary * width);
  const Matrix dout = random_matrix(random, rows * width);
  std::uniform_int_distribution<std::int32_t> any(0, static_cast<std::int32_t>(vocabulary - 1));
  std::vector<std::int32_t> tokens(rows);
  for (auto& token : tokens) token = any(random);

  const kernels::VocabParallelEmbedding layer(world(), vocabulary, width);
  const Matrix local = rows_of(table, width, layer.ids());
  const Buffer<float> out(rows * width, Memory::node_shared);
  layer.forward(rows, tokens.data(), local.data(), out.data());
  Matrix gradient(local.size(), 1.0f);
  layer.backward(rows, tokens.data(), dout.data(), gradient.data());

  Matrix expected;
  Matrix expected_gradient(table.size(), 1.0f);
  for (Index row = 0; row < rows; ++row) {
    const Index id = tokens[static_cast<std::size_t>(row)];
    for (Index col = 0; col < width; ++col) {
      expected.push_back(table[static_cast<std::size_t>(id * width + col)]);
      expected_gradient[static_cast<std::size_t>(id * width + col)] +=
          dout[static_cast<std::size_t>(row * width + col)];
    }
  }
  EXPECT_EQ(Matrix(out.begin(), out.end()), expected);
  expect_close(gradient, rows_of(expected_gradient, width, layer.ids()), rows, "gradient");
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, ParallelEmbedding, ::testing::Values(8, 65, 256));

TEST(ParallelEmbeddingErrors, RefusesFewerIdsThanRanks) {
  if (world().size() == 1) GTEST_SKIP() << "one rank can hold any vocabulary";
  EXPECT_THROW(kernels::VocabParallelEmbedding(world(), world().size() - 1, 4), UsageError);
}

}  // namespace
}  // namespace shoal::testing
