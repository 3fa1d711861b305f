// A sum by buckets is the sum, in whatever order its pieces become ready.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/bucketed_all_reduce.hpp>
#include <shoal/collectives/narrow.hpp>
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

// Of N ranks each number is rounded to bf16, which moves it by 2^-8 of it at most, and so is each sum of
// some of them that is sent on, N - 1 at most; additions in f32 are as nothing beside that. No sum of some
// is larger than the sum of all absolute values.
TEST_P(Bucketed, FloatsTravelAsBf16) {
  std::mt19937_64 random = generator(static_cast<std::uint64_t>(world().rank()) + 1);
  std::normal_distribution<float> normal;
  const int ranks = world().size();
  for (const bool scatter : {false, true}) {
    for (const Bytes bucket_bytes : {Bytes{4}, Bytes{1000}, Bytes{1} << 20}) {
      const Index count = bucket_bytes == 4 ? 37 : 20011;
      std::vector<double> sums(static_cast<std::size_t>(count)), sizes(sums);
      std::vector<float> mine(static_cast<std::size_t>(count));
      for (std::size_t i = 0; i < mine.size(); ++i) {
        mine[i] = normal(random);
        sums[i] = mine[i];
        sizes[i] = std::abs(mine[i]);
      }
      all_reduce(world(), std::span(sums), ReduceOp::sum);
      all_reduce(world(), std::span(sizes), ReduceOp::sum);
      Buffer<float> data(count, Memory::node_shared);
      BucketedAllReduce::Options options{bucket_bytes, GetParam(), {}};
      options.scatter = scatter;
      options.wire = DType::bf16;
      const std::vector<Block> pieces = {{0, count}};
      BucketedAllReduce sum(world(), data.data(), count, DType::f32, ReduceOp::sum, pieces, options);
      std::vector<float> first;
      for (int round = 0; round < 2; ++round) {
        std::copy(mine.begin(), mine.end(), data.begin());
        sum.ready(0);
        sum.finish();
        std::vector<float> got;
        Index rounded = 0;
        for (const Block& bucket : sum.buckets()) {
          const Block part = scatter ? block_of(bucket.size, ranks, world().rank())
                                     : Block{0, bucket.size};
          for (Index i = bucket.begin + part.begin; i < bucket.begin + part.end(); ++i) {
            const auto at = static_cast<std::size_t>(i);
            const double most = ranks == 1 ? 0 : 1.01 * ranks * 0x1p-8 * sizes[at];
            ASSERT_NEAR(data[i], sums[at], most) << "number " << i << " of " << count;
            got.push_back(data[i]);
            if (to_float(to_bfloat16(data[i])) == data[i]) ++rounded;
          }
        }
        // They did travel so: what came is a number of that type.
        if (ranks > 1) {
          EXPECT_EQ(rounded, static_cast<Index>(got.size()));
        }
        if (round == 0) first = got;
        EXPECT_EQ(got, first) << "the same numbers have the same sum";
      }
    }
  }
}

TEST_P(Bucketed, RefusesToSendWhatItCannotRound) {
  std::vector<double> data(10);
  const std::vector<Block> pieces = {{0, 10}};
  BucketedAllReduce::Options options{80, GetParam(), {}};
  options.wire = DType::bf16;
  EXPECT_THROW(BucketedAllReduce(world(), data.data(), 10, DType::f64, ReduceOp::sum, pieces, options),
               Error);
  options.wire = DType::f16;
  EXPECT_THROW(BucketedAllReduce(world(), data.data(), 10, DType::f32, ReduceOp::sum, pieces, options),
               Error);
}

// Whatever the length and the place: all that was there is there again, rounded.
TEST(Narrow, RoundsAndWidensWhereTheyLie) {
  std::mt19937_64 random = generator(static_cast<std::uint64_t>(world().rank()) + 1);
  for (const Index count : {0, 1, 2, 31, 32, 33, 64, 95, 1000, 4099}) {
    std::vector<float> data(static_cast<std::size_t>(count));
    for (float& value : data) {
      const auto bits = static_cast<std::uint32_t>(random());  // every kind of number, NaN among them
      std::memcpy(&value, &bits, sizeof value);
    }
    const std::vector<float> before = data;
    const Index begin = count / 3;
    narrow_in_place(data.data(), count);
    widen_in_place(data.data(), begin, count - begin);
    for (auto i = static_cast<std::size_t>(begin); i < data.size(); ++i) {
      const float expected = to_float(to_bfloat16(before[i]));
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(data[i])) << i << " of " << count;
      } else {
        ASSERT_EQ(data[i], expected) << i << " of " << count;
      }
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
