// A sum by buckets is the sum, in whatever order its pieces become ready.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/bucketed_all_reduce.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

namespace shoal::testing {
namespace {

using When = BucketedAllReduce::Options::When;

// Cuts [0, count) at random places; every fifth range is in no piece.
std::vector<Block> random_pieces(Index count, std::mt19937_64& random) {
  std::vector<Block> pieces;
  for (Index begin = 0; begin < count;) {
    const Index size = std::min<Index>(count - begin, static_cast<Index>(random() % 900));
    if (random() % 5 != 0) pieces.push_back({begin, size});
    begin += size;
  }
  std::shuffle(pieces.begin(), pieces.end(), random);
  return pieces;
}

class Bucketed : public ::testing::TestWithParam<When> {};

TEST_P(Bucketed, GivesTheSumInEveryRound) {
  auto random = generator();  // the same on all ranks
  for (const Bytes bucket_bytes : {Bytes{4}, Bytes{1000}, Bytes{1} << 20}) {
    const Index count = bucket_bytes == 4 ? 37 : 20000;
    Buffer<std::int32_t> data(count, Memory::node_shared);
    const std::vector<Block> pieces = random_pieces(count, random);
    BucketedAllReduce sum(world(), data.data(), count, DType::i32, ReduceOp::sum, pieces,
                          {bucket_bytes, GetParam(), {}});
    for (int round = 0; round < 3; ++round) {
      std::vector<std::int32_t> expected(static_cast<std::size_t>(count));
      for (Index i = 0; i < count; ++i) {
        for (int rank = 0; rank < world().size(); ++rank) {
          const auto value = static_cast<std::int32_t>(i * (rank + 1) + round);
          expected[static_cast<std::size_t>(i)] += value;
          if (rank == world().rank()) data[i] = value;
        }
      }
      // Not in the order that was announced, and not in the same on all ranks.
      std::vector<std::size_t> order(pieces.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::mt19937_64 own(seed() + static_cast<std::uint64_t>(world().rank() + 10 * round));
      if (round > 0) std::shuffle(order.begin(), order.end(), own);
      EXPECT_FALSE(sum.under_way());
      for (const std::size_t piece : order) sum.ready(piece);
      sum.finish();
      EXPECT_FALSE(sum.under_way());
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), data.begin()));
    }
  }
}

TEST_P(Bucketed, ScattersEachPartToItsRank) {
  auto random = generator();
  for (const Bytes bucket_bytes : {Bytes{4}, Bytes{1000}, Bytes{1} << 20}) {
    const Index count = bucket_bytes == 4 ? 37 : 20000;
    Buffer<std::int32_t> data(count, Memory::node_shared);
    const std::vector<Block> pieces = random_pieces(count, random);
    BucketedAllReduce::Options options{bucket_bytes, GetParam(), {}};
    options.scatter = true;
    BucketedAllReduce sum(world(), data.data(), count, DType::i32, ReduceOp::sum, pieces, options);
    std::vector<Index> sizes = BucketedAllReduce::bucket_sizes(count, DType::i32,
                                                               sum.in_background(), bucket_bytes);
    const std::vector<Block> buckets = sum.buckets();
    ASSERT_EQ(buckets.size(), sizes.size());
    for (int round = 0; round < 2; ++round) {
      Index all_ranks = 0;
      for (int rank = 0; rank < world().size(); ++rank) all_ranks += rank + 1;
      for (Index i = 0; i < count; ++i) {
        data[i] = static_cast<std::int32_t>(i * (world().rank() + 1) + round);
      }
      for (std::size_t piece = 0; piece < pieces.size(); ++piece) sum.ready(piece);
      sum.finish();
      Index covered = 0;
      for (const Block& bucket : buckets) {
        covered += bucket.size;
        const Block mine = block_of(bucket.size, world().size(), world().rank());
        for (Index i = bucket.begin + mine.begin; i < bucket.begin + mine.end(); ++i) {
          ASSERT_EQ(data[i], i * all_ranks + round * world().size());
        }
      }
      EXPECT_EQ(covered, count);
    }
  }
}

TEST_P(Bucketed, FinishTakesTheRestForReady) {
  std::vector<double> data(5000, 1.0);
  const std::vector<Block> pieces = {{0, 1000}, {1000, 3000}, {4500, 500}};
  BucketedAllReduce sum(world(), data.data(), 5000, DType::f64, ReduceOp::sum, pieces,
                        {8 * 700, GetParam(), {}});
  if (world().rank() % 2 == 0) sum.ready(1);  // a rank without work of its own is ready for nothing
  sum.finish();
  EXPECT_EQ(std::count(data.begin(), data.end(), world().size()), 5000);
}

TEST_P(Bucketed, RefusesWhatMakesNoSense) {
  std::vector<float> data(100);
  const auto with = [&](std::vector<Block> pieces) {
    BucketedAllReduce(world(), data.data(), 100, DType::f32, ReduceOp::sum, pieces,
                      {400, GetParam(), {}});
  };
  EXPECT_THROW(with({{0, 60}, {50, 10}}), Error);
  EXPECT_THROW(with({{90, 11}}), Error);
  EXPECT_THROW(with({{-1, 5}}), Error);
  const std::vector<Block> pieces = {{0, 50}, {50, 50}};
  BucketedAllReduce sum(world(), data.data(), 100, DType::f32, ReduceOp::sum, pieces,
                        {400, GetParam(), {}});
  sum.ready(0);
  EXPECT_THROW(sum.ready(0), Error);
  EXPECT_THROW(sum.ready(2), Error);
  sum.finish();
}

INSTANTIATE_TEST_SUITE_P(When, Bucketed,
                         ::testing::Values(When::automatic, When::background, When::at_the_end));

}  // namespace
}  // namespace shoal::testing
