// When results are written past the caches: a rule of sizes, tried on machines that need not be there.
#include <gtest/gtest.h>

#include <shoal/collectives/caches.hpp>

namespace shoal::testing {
namespace {

constexpr Bytes KiB = 1 << 10;
constexpr Bytes MiB = 1 << 20;

// Third level around all cores of a socket.
Caches xeon(int threads) { return {2 * MiB, 96 * MiB, threads, true}; }
// A third level for every eight cores.
Caches epyc() { return {1 * MiB, 32 * MiB, 8, false}; }

// Of an all-reduce of `bytes` on `ranks` ranks, each with a core to itself: it touches input and output.
bool sum_past(const Caches& caches, Bytes bytes, int ranks) {
  return sums_go_past(caches, 2 * bytes, ranks, ranks);
}
bool copy_past(const Caches& caches, Bytes bytes, int ranks) {
  return copies_go_past(caches, 2 * bytes, ranks, ranks);
}

TEST(Caches, TwoRanksOfAXeonKeepWhatTheThirdLevelHolds) {
  const Caches caches = xeon(2);
  for (const Bytes bytes : {8 * KiB, 512 * KiB, 1 * MiB}) EXPECT_FALSE(sum_past(caches, bytes, 2));
  EXPECT_TRUE(sum_past(caches, 2 * MiB, 2)) << "the inputs fit the second level without the results";
  for (const Bytes bytes : {4 * MiB, 8 * MiB, 16 * MiB}) EXPECT_FALSE(sum_past(caches, bytes, 2));
  for (const Bytes bytes : {32 * MiB, 256 * MiB}) EXPECT_TRUE(sum_past(caches, bytes, 2));
  for (const Bytes bytes : {2 * MiB, 16 * MiB}) EXPECT_FALSE(copy_past(caches, bytes, 2));
  for (const Bytes bytes : {32 * MiB, 256 * MiB}) EXPECT_TRUE(copy_past(caches, bytes, 2));
}

// One third level for sixteen: what counts is what they all touch, 16 x 16 MiB here.
TEST(Caches, ManyRanksOfAXeonFillItTogether) {
  const Caches caches = xeon(16);
  for (const Bytes bytes : {512 * KiB, 1 * MiB, 3 * MiB}) EXPECT_FALSE(sum_past(caches, bytes, 16));
  for (const Bytes bytes : {4 * MiB, 8 * MiB, 64 * MiB}) {
    EXPECT_TRUE(sum_past(caches, bytes, 16)) << bytes;
    EXPECT_TRUE(copy_past(caches, bytes, 16)) << bytes;
  }
  // As few as two have the whole of it, however many cores there are.
  EXPECT_FALSE(sums_go_past(caches, 32 * MiB, 2, 16));
}

TEST(Caches, TwoRanksOfAnEpycKeepWhatTheirComplexHolds) {
  const Caches caches = epyc();
  for (const Bytes bytes : {256 * KiB, 1 * MiB, 8 * MiB}) {
    EXPECT_FALSE(sum_past(caches, bytes, 2)) << bytes;
    EXPECT_FALSE(copy_past(caches, bytes, 2)) << bytes;
  }
  for (const Bytes bytes : {9 * MiB, 256 * MiB}) {
    EXPECT_TRUE(sum_past(caches, bytes, 2)) << bytes;
    EXPECT_TRUE(copy_past(caches, bytes, 2)) << bytes;
  }
}

// Eight around one third level share one way to memory: they keep to the caches as long as those hold it all,
// 8 MiB of second and 32 of third, and a second complex brings caches of its own.
TEST(Caches, ComplexesOfAnEpycAreFilledEachByItsOwnRanks) {
  const Caches caches = epyc();
  for (const int ranks : {8, 16, 64}) {
    for (const Bytes bytes : {256 * KiB, 512 * KiB, 2 * MiB}) {
      EXPECT_FALSE(sum_past(caches, bytes, ranks)) << bytes << " over " << ranks;
      EXPECT_FALSE(copy_past(caches, bytes, ranks)) << bytes << " over " << ranks;
    }
    for (const Bytes bytes : {3 * MiB, 8 * MiB}) {
      EXPECT_TRUE(sum_past(caches, bytes, ranks)) << bytes << " over " << ranks;
      EXPECT_TRUE(copy_past(caches, bytes, ranks)) << bytes << " over " << ranks;
    }
  }
}

TEST(Caches, RanksThatShareACoreShareItsCaches) {
  const Caches caches = epyc();
  EXPECT_EQ(bytes_on_core(3 * MiB, 4, 2), 6 * MiB);
  EXPECT_EQ(bytes_on_core(3 * MiB, 5, 2), 9 * MiB);
  EXPECT_EQ(bytes_on_core(3 * MiB, 2, 8), 3 * MiB);
  EXPECT_FALSE(sums_go_past(caches, 12 * MiB, 2, 2));
  EXPECT_TRUE(sums_go_past(caches, 12 * MiB, 4, 2));
}

TEST(Caches, MoreBytesNeverFitWhereFewerDoNot) {
  for (const Caches& caches : {xeon(2), xeon(16), epyc(), Caches{512 * KiB, 0, 1, false}}) {
    for (const int ranks : {1, 2, 3, 7, 16, 200}) {
      for (const int threads : {1, 2, 16, 128}) {
        bool before = false;
        for (Bytes bytes = 1; bytes < Bytes{1} << 40; bytes *= 2) {
          const bool now = outgrow_caches(caches, bytes, ranks, threads);
          EXPECT_TRUE(now || !before) << bytes << " over " << ranks << " on " << threads;
          before = now;
        }
        EXPECT_TRUE(before);
        EXPECT_TRUE(sums_go_past(caches, Bytes{1} << 40, ranks, threads));
        EXPECT_TRUE(copies_go_past(caches, Bytes{1} << 40, ranks, threads));
      }
    }
  }
}

TEST(Caches, OfThisMachineMakeSense) {
  const Caches& here = caches_here();
  EXPECT_GE(here.second, 32 * KiB);
  EXPECT_LE(here.third, 96 * MiB);
  EXPECT_GE(here.third_threads, 1);
}

}  // namespace
}  // namespace shoal::testing
