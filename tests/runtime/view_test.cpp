// Law: a view addresses what its strides say; blocks of a partition cover it once, in order.
#include <shoal/runtime/view.hpp>

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include <shoal/runtime/placement.hpp>

namespace shoal::testing {
namespace {

TEST(View, AddressesRowMajor) {
  std::vector<int> data(24);
  std::iota(data.begin(), data.end(), 0);
  const View<int> view(data.data(), {2, 3, 4});
  EXPECT_EQ(view(1, 2, 3), 23);
  EXPECT_EQ(view(1, 0, 2), 14);
  EXPECT_TRUE(view.is_contiguous());
  EXPECT_EQ(view.size(), 24);
}

TEST(View, SlicesWithoutACopy) {
  std::vector<int> data(24);
  std::iota(data.begin(), data.end(), 0);
  const View<int> view(data.data(), {4, 6});
  const View<int> part = view.slice(0, 1, 2).slice(1, 2, 3);
  EXPECT_EQ(part.shape(), (Shape{2, 3}));
  EXPECT_EQ(part(1, 2), 16);
  EXPECT_FALSE(part.is_contiguous());
  EXPECT_TRUE(view.slice(0, 1, 2).is_contiguous());
  EXPECT_THROW(view.slice(0, 3, 2), Error);
  EXPECT_THROW(view.slice(2, 0, 1), Error);
  EXPECT_THROW(view.slice(0, -1, 1), Error);
}

TEST(Shape, RefusesNonsense) {
  EXPECT_THROW((Shape{1, -1}), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), Error);
  EXPECT_EQ((Shape{2, 3}).text(), "[2, 3]");
  EXPECT_EQ(Shape{}.size(), 1);
}

TEST(Block, PartitionsExactly) {
  for (Index extent = 0; extent < 40; ++extent) {
    for (Index parts = 1; parts < 12; ++parts) {
      Index next = 0;
      for (Index i = 0; i < parts; ++i) {
        const Block block = block_of(extent, parts, i);
        EXPECT_EQ(block.begin, next);
        EXPECT_GE(block.size, extent / parts);
        EXPECT_LE(block.size, extent / parts + 1);
        next = block.end();
      }
      EXPECT_EQ(next, extent);
    }
  }
}

}  // namespace
}  // namespace shoal::testing
