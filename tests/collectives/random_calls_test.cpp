// Thousands of collectives in random order on random sub-communicators: what one leaves behind
// (flags, halves of stages, messages on their way) must never reach the next.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <shoal/collectives/collectives.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/buffer.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

namespace shoal::testing {
namespace {

// What rank `rank` brings at `index` to call `number`: any rank can tell without a word.
std::int64_t value(std::uint64_t number, Rank rank, Index index) {
  std::uint64_t x = number * 0x9e3779b97f4a7c15u +
                    static_cast<std::uint64_t>(rank) * 0xbf58476d1ce4e5b9u +
                    static_cast<std::uint64_t>(index);
  x = (x ^ (x >> 30)) * 0x94d049bb133111ebu;
  return static_cast<std::int64_t>(x ^ (x >> 31));
}

std::int64_t reduced(std::uint64_t number, int ranks, Index index, ReduceOp op) {
  std::int64_t result = value(number, 0, index);
  for (Rank rank = 1; rank < ranks; ++rank) {
    const std::int64_t x = value(number, rank, index);
    if (op == ReduceOp::sum) {
      result = static_cast<std::int64_t>(static_cast<std::uint64_t>(result) +
                                         static_cast<std::uint64_t>(x));
    } else {
      result = op == ReduceOp::min ? std::min(result, x) : std::max(result, x);
    }
  }
  return result;
}

constexpr std::int64_t poison = -0x5a5a5a5a5a5a5a5;

std::shared_ptr<Buffer<std::int64_t>> poisoned(Index count, Memory memory) {
  auto data = std::make_shared<Buffer<std::int64_t>>(count + 1, memory);
  for (std::int64_t& each : data->span()) each = poison;
  return data;
}

// A collective that may still go on, and what must then hold.
struct Pending {
  Work work;
  std::shared_ptr<Buffer<std::int64_t>> data;
  std::uint64_t number;
  int ranks;
  ReduceOp op;
};

::testing::AssertionResult is_done_right(Pending pending) {
  pending.work.wait();
  const Index count = pending.data->size() - 1;
  for (Index i = 0; i < count; ++i) {
    const std::int64_t wanted = reduced(pending.number, pending.ranks, i, pending.op);
    if ((*pending.data)[i] != wanted) {
      return ::testing::AssertionFailure() << "call " << pending.number << ", element " << i << ": "
                                           << (*pending.data)[i] << ", not " << wanted;
    }
  }
  if ((*pending.data)[count] != poison)
    return ::testing::AssertionFailure() << "written past the end";
  return ::testing::AssertionSuccess();
}

class Player {
 public:
  // One random call on `comm`. `draw` gives the same numbers to all of its ranks.
  void play(const Communicator& comm, std::uint64_t number, std::mt19937_64& draw) {
    const int ranks = comm.size();
    const Rank me = comm.rank();
    const auto below = [&](Index limit) {
      return static_cast<Index>(draw() % static_cast<std::uint64_t>(limit));
    };
    constexpr Index most[] = {4, 40, 1100, 9000, 70000};
    const Index length = below(most[draw() % std::size(most)]);
    const ReduceOp op = std::vector{ReduceOp::sum, ReduceOp::min, ReduceOp::max}[draw() % 3];
    // Ranks may differ in where their buffers are.
    const std::uint64_t where = draw() % 3;
    const Memory memory =
        where == 0 || (where == 1 && me % 2 == 0) ? Memory::local : Memory::node_shared;
    const Rank root = static_cast<Rank>(below(ranks));
    std::vector<Index> counts;
    for (Rank rank = 0; rank < ranks; ++rank)
      counts.push_back(below(3) == 0 ? 0 : below(length + 1));
    const Index total = std::accumulate(counts.begin(), counts.end(), Index{0});
    const Index start = std::accumulate(counts.begin(), counts.begin() + me, Index{0});
    const auto mine = static_cast<std::size_t>(me);
    const bool in_place = below(2) == 0;
    const auto filled = [&](Index count) {
      auto data = poisoned(count, memory);
      for (Index i = 0; i < count; ++i) (*data)[i] = value(number, me, i);
      return data;
    };

    switch (draw() % 7) {
      case 0:
      case 1: {
        auto in = filled(length);
        auto out = in_place ? in : poisoned(length, memory);
        Pending pending{{}, out, number, ranks, op};
        all_reduce(comm, in->data(), out->data(), length, DType::i64, op);
        ASSERT_TRUE(is_done_right(std::move(pending)));
        break;
      }
      case 2: {
        auto in = filled(length);
        pending_.push_back({start_all_reduce(comm, in->data(), in->data(), length, DType::i64, op),
                            in, number, ranks, op});
        break;
      }
      case 3: {
        const auto in = filled(total);
        const auto out = poisoned(counts[mine], memory);
        reduce_scatter(comm, in->data(), out->data(), counts, DType::i64, op);
        for (Index i = 0; i < counts[mine]; ++i) {
          ASSERT_EQ((*out)[i], reduced(number, ranks, start + i, op)) << "call " << number;
        }
        ASSERT_EQ((*out)[counts[mine]], poison);
        break;
      }
      case 4: {
        const auto in = filled(counts[mine]);
        const auto out = poisoned(total, memory);
        all_gather(comm, in->data(), out->data(), counts, DType::i64);
        Index at = 0;
        for (Rank rank = 0; rank < ranks; ++rank) {
          for (Index i = 0; i < counts[static_cast<std::size_t>(rank)]; ++i) {
            ASSERT_EQ((*out)[at++], value(number, rank, i)) << "call " << number;
          }
        }
        ASSERT_EQ((*out)[total], poison);
        break;
      }
      case 5: {
        const auto data = me == root ? filled(length) : poisoned(length, memory);
        broadcast(comm, data->data(), length, DType::i64, root);
        for (Index i = 0; i < length; ++i) {
          ASSERT_EQ((*data)[i], value(number, root, i)) << "call " << number;
        }
        ASSERT_EQ((*data)[length], poison);
        break;
      }
      default: {
        if (in_place) barrier(comm);
        const Index each = length / ranks;
        const auto in = filled(each * ranks);
        const auto out = poisoned(each * ranks, memory);
        all_to_all(comm, in->data(), out->data(), each, DType::i64);
        for (Index i = 0; i < each * ranks; ++i) {
          ASSERT_EQ((*out)[i], value(number, static_cast<Rank>(i / each), me * each + i % each))
              << "call " << number;
        }
        ASSERT_EQ((*out)[each * ranks], poison);
      }
    }
    if (pending_.size() > 4) settle_one(draw);
  }

  void settle_all(std::mt19937_64& draw) {
    while (!pending_.empty()) settle_one(draw);
  }

 private:
  void settle_one(std::mt19937_64& draw) {
    const auto which = static_cast<std::ptrdiff_t>(draw() % pending_.size());
    Pending pending = std::move(pending_[static_cast<std::size_t>(which)]);
    pending_.erase(pending_.begin() + which);
    ASSERT_TRUE(is_done_right(std::move(pending)));
  }

  std::vector<Pending> pending_;
};

// SHOAL_RANDOM_CALLS: how many, 10,000 unless told.
TEST(RandomCalls, InAnyOrderOnAnySubCommunicatorGiveTheirOwnResults) {
  const char* text = std::getenv("SHOAL_RANDOM_CALLS");
  const std::uint64_t calls = text != nullptr ? std::strtoull(text, nullptr, 10) : 10000;
  constexpr std::uint64_t calls_a_split = 100;
  constexpr std::size_t splits = 4;
  std::mt19937_64 for_all = generator();
  std::deque<Communicator> parts;
  Player player;
  for (std::uint64_t number = 0; number < calls; ++number) {
    if (number % calls_a_split == 0) {
      const auto parities = static_cast<int>(for_all() % 3) + 1;
      const bool backwards = for_all() % 2 == 0;
      const auto seed_of_colours = for_all();
      const Rank me = world().rank();
      std::mt19937_64 mine(seed_of_colours + static_cast<std::uint64_t>(me));
      const auto colour = static_cast<int>(mine() % static_cast<std::uint64_t>(parities));
      std::mt19937_64 last(number);
      player.settle_all(last);
      parts.push_back(
          world().split(colour, backwards ? -me : me, "part " + std::to_string(number)));
      if (parts.size() > splits) parts.pop_front();
    }
    const Communicator& part = parts[for_all() % parts.size()];
    const std::uint64_t seed_of_call = for_all();
    // The parts of a split differ in what they do, and so in how far they are.
    std::mt19937_64 draw(seed_of_call + static_cast<std::uint64_t>(part.world_rank_of(0)));
    player.play(part, number, draw);
    if (HasFatalFailure()) return;
  }
  std::mt19937_64 last(0);
  player.settle_all(last);
}

}  // namespace
}  // namespace shoal::testing
