// Collectives that move data without changing it, against what every rank knows the others brought.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <string>
#include <thread>

#include <shoal/collectives/collectives.hpp>
#include <shoal/collectives/registry.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "elements.hpp"

namespace shoal::testing {
namespace {

class Movement : public ::testing::TestWithParam<DType> {};

Index sum(const std::vector<Index>& counts) {
  return std::accumulate(counts.begin(), counts.end(), Index{0});
}

TEST_P(Movement, AllGatherGivesAllBlocksInOrder) {
  const DType type = GetParam();
  const int ranks = world().size();
  const Rank me = world().rank();
  int number = 0;
  for (const Index longest : lengths) {
    std::vector<Index> counts;
    Index mine_at = 0;
    for (Rank rank = 0; rank < ranks; ++rank) {
      if (rank == me) mine_at = sum(counts);
      counts.push_back(rank % 3 == 2 ? 0 : longest / (rank + 1));
    }
    const Index total = sum(counts);
    Elements whole(total, type);
    auto from = generator(static_cast<std::uint64_t>(longest));
    whole.fill(from);
    for (const std::string& algorithm : algorithm_names(Operation::all_gather)) {
      const int way = number++ % 6;
      const auto where = static_cast<Where>(way % 3);
      const bool in_place = way / 3 == 1;
      if (!fits(algorithm, where, false)) continue;
      SCOPED_TRACE(algorithm + ", " + std::to_string(total) + " elements, way " +
                   std::to_string(way));
      const Index count = counts[static_cast<std::size_t>(me)];
      Elements out(total, type, memory_of(where, me));
      Elements in(count, type, memory_of(where, me));
      void* source = in_place ? out.at(mine_at) : in.data();
      if (count > 0) {
        std::copy_n(static_cast<std::byte*>(whole.at(mine_at)),
                    static_cast<Bytes>(count) * size_of(type), static_cast<std::byte*>(source));
      }
      all_gather(world(), source, out.data(), counts, type, {algorithm});
      ASSERT_TRUE(same(out.at(0), whole.at(0), total, type));
      ASSERT_TRUE(out.margin_intact());
    }
  }
}

TEST_P(Movement, BroadcastGivesTheRootsDataToAll) {
  const DType type = GetParam();
  int number = 0;
  for (const Index count : lengths) {
    for (const std::string& algorithm : algorithm_names(Operation::broadcast)) {
      const Rank root = number % world().size();
      const auto where = static_cast<Where>(number++ % 3);
      if (algorithm == "node_shared" && memory_of(where, root) == Memory::local) continue;
      SCOPED_TRACE(algorithm + ", " + std::to_string(count) + " elements from " +
                   std::to_string(root));
      Elements wanted(count, type);
      auto from = generator(static_cast<std::uint64_t>(number));
      wanted.fill(from);
      Elements data(count, type, memory_of(where, world().rank()));
      if (world().rank() == root) data.copy_from(wanted);
      broadcast(world(), data.data(), count, type, root, {algorithm});
      ASSERT_TRUE(same(data.at(0), wanted.at(0), count, type));
      ASSERT_TRUE(data.margin_intact());
    }
  }
}

// What `from` sends to `to`: a number that says who, to whom and which.
Number message(Rank from, Rank to, Index index) {
  const std::int64_t value = (from * 31 + to * 7 + index) % 101;
  return {value, static_cast<double>(value)};
}

TEST_P(Movement, AllToAllTransposesBlocks) {
  const DType type = GetParam();
  const int ranks = world().size();
  const Rank me = world().rank();
  int number = 0;
  for (const bool even : {true, false}) {
    for (const Index scale : {0, 1, 3, 17, 1000, 30001}) {
      const auto count_of = [&](Rank from, Rank to) {
        return even ? scale : (from + 2 * to) % 4 * scale / 3;
      };
      std::vector<Index> sends, receives;
      for (Rank rank = 0; rank < ranks; ++rank) {
        sends.push_back(count_of(me, rank));
        receives.push_back(count_of(rank, me));
      }
      for (const std::string& algorithm : algorithm_names(Operation::all_to_all)) {
        const auto where = static_cast<Where>(number++ % 3);
        if (!fits(algorithm, where, false)) continue;
        SCOPED_TRACE(algorithm + (even ? ", even, " : ", uneven, ") + std::to_string(scale));
        Elements in(sum(sends), type, memory_of(where, me));
        Index at = 0;
        for (Rank to = 0; to < ranks; ++to) {
          for (Index i = 0; i < count_of(me, to); ++i) {
            set(in.at(at++), 0, type, message(me, to, i));
          }
        }
        Elements out(sum(receives), type, memory_of(where, me));
        if (even) {
          all_to_all(world(), in.data(), out.data(), scale, type, {algorithm});
        } else if (algorithm == "direct" && ranks > 1) {
          EXPECT_THROW(
              all_to_all(world(), in.data(), sends, out.data(), receives, type, {algorithm}),
              Error);
          continue;
        } else {
          all_to_all(world(), in.data(), sends, out.data(), receives, type, {algorithm});
        }
        at = 0;
        for (Rank from = 0; from < ranks; ++from) {
          for (Index i = 0; i < count_of(from, me); ++i) {
            const Number got = out[at++];
            const Number want = message(from, me, i);
            ASSERT_EQ(is_floating(type) ? got.real : static_cast<double>(got.integer), want.real);
          }
        }
        ASSERT_TRUE(out.margin_intact());
      }
    }
  }
}

// Between nodes, longer blocks go in parts, a piece of every block in each: some ranks have several here,
// others one or none.
TEST(AllToAllInParts, TransposesBlocksOfManyLengths) {
  const int ranks = world().size();
  const Rank me = world().rank();
  if (world().on_one_node()) GTEST_SKIP() << "there are no parts within a node";
  int most = 1;
  for (Rank rank = 0; rank < ranks; ++rank) {
    int here = 0;
    for (Rank other = 0; other < ranks; ++other) here += world().node_of(other) == world().node_of(rank);
    most = std::max(most, here);
  }
  const Index piece = (Index{32} << 20) / (most * ranks);  // bytes of a block in a part
  const auto count_of = [&](Rank from, Rank to) {
    if ((from + to) % 3 == 0) return piece / 4 * 9 + from;
    return (from + to) % 3 == 1 ? Index{0} : Index{100} + to;
  };
  const auto letter = [](Rank from, Rank to, Index i) {
    return static_cast<std::int8_t>((from * 31 + to * 7 + i * 13 + i / 4096) % 127);
  };
  std::vector<Index> sends, receives;
  for (Rank rank = 0; rank < ranks; ++rank) {
    sends.push_back(count_of(me, rank));
    receives.push_back(count_of(rank, me));
  }
  for (const std::string& algorithm : algorithm_names(Operation::all_to_all)) {
    if (!algorithm.empty() && algorithm != "hierarchical") continue;  // the others have no parts
    for (const Where where : {Where::shared, Where::mixed}) {
      SCOPED_TRACE(algorithm);
      const Buffer<std::int8_t> in(sum(sends), memory_of(where, me));
      const Buffer<std::int8_t> out(sum(receives), memory_of(where, me));
      Index at = 0;
      for (Rank to = 0; to < ranks; ++to) {
        for (Index i = 0; i < count_of(me, to); ++i) in[at++] = letter(me, to, i);
      }
      std::fill(out.begin(), out.end(), std::int8_t{-1});
      all_to_all(world(), in.data(), sends, out.data(), receives, DType::i8, {algorithm});
      at = 0;
      for (Rank from = 0; from < ranks; ++from) {
        Index wrong = 0;
        for (Index i = 0; i < count_of(from, me); ++i) wrong += out[at++] != letter(from, me, i);
        ASSERT_EQ(wrong, 0) << "of " << count_of(from, me) << " from " << from;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Movement, ::testing::ValuesIn(all_dtypes),
                         [](const auto& param) { return std::string(name_of(param.param)); });

TEST(Barrier, NobodyLeavesBeforeAllHaveCome) {
  // A counter that all ranks see: after the k-th barrier everyone has counted k times.
  Buffer<std::int64_t> counter(1, Memory::node_shared);
  for (const std::string& algorithm : algorithm_names(Operation::barrier)) {
    SCOPED_TRACE(algorithm);
    std::int64_t rounds = 0;
    for (int round = 0; round < 50; ++round) {
      if ((round + world().rank()) % 7 == 0) std::this_thread::yield();
      ++rounds;
      barrier(world(), {algorithm});
      std::int64_t least = rounds;
      all_reduce(world(), std::span(&least, 1), ReduceOp::min);
      ASSERT_EQ(least, rounds);
    }
  }
}

TEST(PointToPoint, RingOfSendReceives) {
  const int ranks = world().size();
  const Rank next = (world().rank() + 1) % ranks;
  const Rank previous = (world().rank() + ranks - 1) % ranks;
  for (const Index count : {0, 1, 1000, 300000}) {
    std::vector<float> out(static_cast<std::size_t>(count), static_cast<float>(world().rank()));
    std::vector<float> in(static_cast<std::size_t>(count), -1);
    send_receive(world(), out.data(), count, next, in.data(), count, previous, DType::f32, 3);
    for (const float value : in) ASSERT_EQ(value, static_cast<float>(previous));
  }
}

TEST(PointToPoint, MessagesWithOneTagKeepTheirOrderAndTagsKeepApart) {
  if (world().size() < 2 || world().rank() > 1) return;
  std::int32_t number[] = {1, 2, 3};
  if (world().rank() == 0) {
    send(world(), &number[0], 1, DType::i32, 1, 5);
    send(world(), &number[1], 1, DType::i32, 1, 6);
    send(world(), &number[2], 1, DType::i32, 1, 5);
  } else {
    std::int32_t got[] = {0, 0, 0};
    receive(world(), &got[1], 1, DType::i32, 0, 6);
    receive(world(), &got[0], 1, DType::i32, 0, 5);
    receive(world(), &got[2], 1, DType::i32, 0, 5);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(got[i], number[i]);
  }
}

TEST(BroadcastText, GivesTheRootsTextToAll) {
  const Communicator& comm = world();
  for (const std::size_t length : {0, 1, 100'000}) {
    for (Rank root = 0; root < comm.size(); ++root) {
      const auto text_of = [&](Rank rank) {
        return std::string(length + static_cast<std::size_t>(rank == root ? 0 : rank),
                           static_cast<char>('a' + rank));
      };
      EXPECT_EQ(broadcast_text(comm, text_of(comm.rank()), root), text_of(root));
    }
  }
}

}  // namespace
}  // namespace shoal::testing
