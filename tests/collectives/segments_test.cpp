// The segments of a plan's blocks: a function of the counts, the type and the wanted length alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <plan/segments.hpp>
#include <support/random.hpp>

namespace shoal {
namespace {

Bytes rounded_up(Bytes bytes) { return (bytes + 63) / 64 * 64; }

// Laws of cut_into_segments for any counts.
void expect_whole(const std::vector<Index>& counts, DType type, Bytes wanted) {
  const Bytes element = size_of(type);
  const Segments cut = cut_into_segments(counts, type, wanted);
  ASSERT_EQ(cut.first.size(), counts.size() + 1);
  ASSERT_EQ(cut.first.front(), 0);
  ASSERT_EQ(cut.first.back(), static_cast<int>(cut.all.size()));
  Index begin = 0;
  for (std::size_t block = 0; block < counts.size(); ++block) {
    const Index end = begin + counts[block];
    Index at = begin;
    Bytes shortest = SIZE_MAX, longest = 0;
    for (int i = cut.first[block]; i < cut.first[block + 1]; ++i) {
      const Block& segment = cut.all[static_cast<std::size_t>(i)];
      const Bytes bytes = static_cast<Bytes>(segment.size) * element;
      ASSERT_EQ(segment.begin, at) << "segments follow each other";
      ASSERT_GT(segment.size, 0);
      ASSERT_LE(bytes, rounded_up(wanted));
      ASSERT_EQ(static_cast<Bytes>(at - begin) * element % 64, 0u) << "cut at a cache line";
      at = segment.end();
      if (at < end) shortest = std::min(shortest, bytes);
      longest = std::max(longest, bytes);
    }
    ASSERT_EQ(at, end) << "nothing is left over";
    if (shortest != SIZE_MAX) {
      ASSERT_LE(longest - shortest, 64u) << "even parts";
    }
    begin = end;
  }
}

TEST(Segments, HoldEveryElementOnceInEvenPartsAtCacheLines) {
  std::mt19937_64 random = testing::generator();
  for (int i = 0; i < 300; ++i) {
    std::vector<Index> counts(random() % 9);
    for (Index& count : counts) count = static_cast<Index>(random() % (1u << (random() % 24)));
    const DType type = std::vector{DType::i8, DType::bf16, DType::f32, DType::f64}[random() % 4];
    const Bytes wanted = 1 + random() % (200 << 10);
    SCOPED_TRACE("counts " + std::to_string(counts.size()) + ", wanted " + std::to_string(wanted));
    expect_whole(counts, type, wanted);
    if (HasFatalFailure()) return;
  }
}

// 20,000 segments: what does not divide evenly must not pile up in one of them.
TEST(Segments, StayShortInBlocksOfGibibytes) {
  expect_whole({(Index{5} << 28) + 12345, 0, 17}, DType::f64, 63 << 10);
}

Plan plan_of(std::vector<Index> counts) {
  Plan plan;
  plan.counts = std::move(counts);
  return plan;
}

TEST(Segments, AreShorterThanWhatCarriesThemAllows) {
  Plan asks = plan_of({1 << 20});
  for (const Bytes bytes : {Bytes{1}, Bytes{4096}, most_segment_bytes(), 10 * most_segment_bytes()}) {
    asks.segment_bytes = bytes;
    EXPECT_EQ(wanted_segment_bytes(asks, 4, true), std::min(bytes, most_segment_bytes()));
    EXPECT_EQ(wanted_segment_bytes(asks, 4, false), std::min(bytes, passed_segment_bytes()));
  }
  for (const bool around : {false, true}) {
    Plan free = plan_of({100, 1 << 30, 5});
    free.around = around;
    EXPECT_EQ(wanted_segment_bytes(free, 4, true),
              around ? most_segment_bytes() : passed_segment_bytes());
    EXPECT_EQ(wanted_segment_bytes(free, 4, false), passed_segment_bytes());
  }
}

TEST(Segments, ComeFourToABlockWhereTheyAreNeitherTooShortNorTooLong) {
  Plan plan = plan_of({1000, 50 << 10, 7});
  EXPECT_EQ(wanted_segment_bytes(plan, 4, true), Bytes{50 << 10});
  EXPECT_EQ(wanted_segment_bytes(plan_of({10}), 8, true), Bytes{32 << 10}) << "the shortest";
}

}  // namespace
}  // namespace shoal
