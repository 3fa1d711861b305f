// How the collectives of a node cut their data.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include <node/pieces.hpp>
#include <support/random.hpp>

namespace shoal {
namespace {

TEST(Pieces, PartsOfRanksHoldEveryElementOnceAndShareNoLine) {
  std::mt19937_64 random = testing::generator();
  for (int i = 0; i < 300; ++i) {
    const auto count = static_cast<Index>(random() % 5000);
    const DType type = std::vector{DType::i8, DType::bf16, DType::f32, DType::f64}[random() % 4];
    const int ranks = 1 + static_cast<int>(random() % 40);
    Index at = 0;
    for (Rank rank = 0; rank < ranks; ++rank) {
      const Block part = segment_of(count, type, ranks, rank);
      ASSERT_EQ(part.begin, at);
      if (part.size > 0) {
        ASSERT_EQ(static_cast<Bytes>(at) * size_of(type) % 64, 0u);
      }
      at = part.end();
    }
    ASSERT_EQ(at, count);
  }
}

TEST(Pieces, StripsFromTheEndHoldEveryElementOnceInFallingOrder) {
  std::mt19937_64 random = testing::generator();
  for (int i = 0; i < 300; ++i) {
    const Block part{static_cast<Index>(random() % 1000), static_cast<Index>(random() % 3000)};
    const auto strip = 1 + static_cast<Index>(random() % 700);
    Index at = part.end();
    in_strips_from_end(part, strip, [&](const Block& piece) {
      EXPECT_EQ(piece.end(), at);
      EXPECT_GT(piece.size, 0);
      EXPECT_LE(piece.size, strip);
      EXPECT_EQ((piece.begin - part.begin) % strip, 0);
      at = piece.begin;
    });
    ASSERT_EQ(at, part.begin);
  }
}

}  // namespace
}  // namespace shoal
