#include <shoal/kernels/local/embedding.hpp>

#include "reference.hpp"

namespace shoal::kernels {
namespace {

TEST(Embedding, ShardsSumToTheWholeTable) {
  auto random = testing::generator();
  for (const auto& [rows, width] : {std::pair<Index, Index>{0, 5}, {3, 0}, {1, 1}, {300, 67}}) {
    const Index ids_count = 31;
    const auto table = testing::uniform<float>(random, ids_count * width);
    std::vector<std::int32_t> ids;
    for (Index r = 0; r < rows; ++r) ids.push_back(static_cast<std::int32_t>(random() % 31));
    std::vector<float> total(static_cast<std::size_t>(rows * width), 0.0f);
    for (const auto& [first, count] : {std::pair<Index, Index>{0, 10}, {10, 0}, {10, 21}}) {
      auto out = poisoned(rows * width);
      embedding_forward(rows, width, ids.data(), first, count, table.data() + first * width,
                        out.data());
      for (std::size_t i = 0; i < out.size(); ++i) total[i] += out[i];
    }
    for (Index r = 0; r < rows; ++r) {
      for (Index c = 0; c < width; ++c) {
        EXPECT_EQ(total[static_cast<std::size_t>(r * width + c)],
                  table[static_cast<std::size_t>(ids[static_cast<std::size_t>(r)] * width + c)]);
      }
    }
  }
}

TEST(Embedding, BackwardAddsRowsInOrder) {
  auto random = testing::generator();
  const Index rows = 2000;
  const Index width = 67;
  const Index first = 5;
  const Index shard = 7;
  const auto dout = testing::uniform<float>(random, rows * width);
  const auto before = testing::uniform<float>(random, shard * width);
  std::vector<std::int32_t> ids;
  for (Index r = 0; r < rows; ++r) ids.push_back(static_cast<std::int32_t>(random() % 20));
  auto expected = before;
  for (Index r = 0; r < rows; ++r) {
    const Index id = ids[static_cast<std::size_t>(r)] - first;
    if (id < 0 || id >= shard) continue;
    for (Index c = 0; c < width; ++c) {
      expected[static_cast<std::size_t>(id * width + c)] +=
          dout[static_cast<std::size_t>(r * width + c)];
    }
  }
  const auto compute = [&] {
    auto table = before;
    embedding_backward(rows, width, ids.data(), first, shard, dout.data(), table.data());
    return table;
  };
  EXPECT_TRUE(same_bits(compute(), expected));
  expect_same_for_any_threads(compute);
}

}  // namespace
}  // namespace shoal::kernels
