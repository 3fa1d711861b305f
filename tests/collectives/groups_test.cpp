// Groups of every kind: parts of the ranks, in another order, that come, go and move.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <shoal/collectives/collectives.hpp>
#include <shoal/collectives/registry.hpp>
#include <support/world.hpp>

#include "elements.hpp"

namespace shoal::testing {
namespace {

// Names of the algorithms that apply to a group, whatever its buffers; "" for the automatic choice.
std::vector<std::string> names_on(const Communicator& group, Operation operation) {
  std::vector<std::string> names{""};
  Call call;
  call.comm = &group;
  call.operation = operation;
  for (const Algorithm* algorithm : algorithms(operation)) {
    if (algorithm->name() == "node_shared" && operation != Operation::barrier) continue;
    if (group.size() == 1 || algorithm->why_not(call).empty()) names.emplace_back(algorithm->name());
  }
  return names;
}

// Element `index` of what `rank` has for `to`.
std::int64_t letter(Rank rank, Rank to, Index index) { return rank * 1009 + to * 31 + index % 997; }

// One operation on a group of which all ranks call it, with `count` elements a rank or block.
class OnGroup {
 public:
  OnGroup(const Communicator& group, Index count)
      : group_(group), ranks_(group.size()), me_(group.rank()), count_(count) {}

  void run(Operation operation, const CollectiveOptions& options) const {
    switch (operation) {
      case Operation::all_reduce: return reduce_all(options);
      case Operation::reduce_scatter: return scatter(options);
      case Operation::all_gather: return gather(options);
      case Operation::broadcast: return spread(options);
      case Operation::all_to_all: return exchange(options);
      case Operation::barrier: return barrier(group_, options);
    }
  }

 private:
  using Data = std::vector<std::int64_t>;
  static constexpr std::int64_t untouched = -77;

  std::int64_t summed(Rank to, Index index) const {
    std::int64_t sum = 0;
    for (Rank rank = 0; rank < ranks_; ++rank) sum += letter(rank, to, index);
    return sum;
  }
  Data poisoned(Index blocks) const {
    return Data(static_cast<std::size_t>(blocks * count_), untouched);
  }
  // This rank's blocks for all others.
  Data letters() const {
    Data all;
    for (Rank to = 0; to < ranks_; ++to) {
      for (Index i = 0; i < count_; ++i) all.push_back(letter(me_, to, i));
    }
    return all;
  }
  template <class Wanted>
  void expect(const Data& got, Wanted&& wanted) const {
    for (std::size_t at = 0; at < got.size(); ++at) {
      const auto index = static_cast<Index>(at);
      ASSERT_EQ(got[at], wanted(static_cast<Rank>(index / count_), index % count_)) << "at " << at;
    }
  }

  void reduce_all(const CollectiveOptions& options) const {
    const Data in = letters();
    Data out = poisoned(ranks_);
    all_reduce(group_, in.data(), out.data(), count_ * ranks_, DType::i64, ReduceOp::sum, options);
    expect(out, [&](Rank block, Index i) { return summed(block, i); });
  }
  void scatter(const CollectiveOptions& options) const {
    const Data in = letters();
    Data out = poisoned(1);
    const std::vector<Index> counts(static_cast<std::size_t>(ranks_), count_);
    reduce_scatter(group_, in.data(), out.data(), counts, DType::i64, ReduceOp::sum, options);
    expect(out, [&](Rank, Index i) { return summed(me_, i); });
  }
  void gather(const CollectiveOptions& options) const {
    Data in = letters(), out = poisoned(ranks_);
    in.resize(static_cast<std::size_t>(count_));
    all_gather(group_, in.data(), count_, out.data(), DType::i64, options);
    expect(out, [&](Rank block, Index i) { return letter(block, 0, i); });
  }
  void spread(const CollectiveOptions& options) const {
    const Rank root = ranks_ / 2;
    Data data = me_ == root ? letters() : poisoned(ranks_);
    broadcast(group_, data.data(), count_ * ranks_, DType::i64, root, options);
    expect(data, [&](Rank block, Index i) { return letter(root, block, i); });
  }
  void exchange(const CollectiveOptions& options) const {
    const Data in = letters();
    Data out = poisoned(ranks_);
    all_to_all(group_, in.data(), out.data(), count_, DType::i64, options);
    expect(out, [&](Rank block, Index i) { return letter(block, me_, i); });
  }

  const Communicator& group_;
  const int ranks_;
  const Rank me_;
  const Index count_;
};

void expect_every_algorithm_on(const Communicator& group) {
  for (const Operation operation : all_operations) {
    for (const std::string& algorithm : names_on(group, operation)) {
      for (const Index count : {0, 1, 7, 5001}) {
        SCOPED_TRACE(std::string(name_of(operation)) + " over " + group.name() + ", " + algorithm + ", " +
                     std::to_string(count));
        OnGroup(group, count).run(operation, {algorithm});
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST(Groups, OddAndEvenReversedAndAlone) {
  const Rank me = world().rank();
  expect_every_algorithm_on(world().split(me % 2, me, "parity"));
  expect_every_algorithm_on(world().split(0, -me, "reversed"));
  expect_every_algorithm_on(world().split(me, 0, "alone"));
}

// The parts are not alike: one has a rank less than all.
TEST(Groups, AllButOneAndPartsOfAPart) {
  const Rank me = world().rank();
  const Communicator most = world().split(me == world().size() / 2, me, "all but one");
  expect_every_algorithm_on(most);
  expect_every_algorithm_on(most.split(most.rank() / 2, -most.rank(), "pairs of those"));
}

TEST(Groups, ManyGroupsComeAndGoWhileRanksRunAhead) {
  for (int round = 0; round < 60; ++round) {
    const Communicator group = world().duplicate("short-lived");
    std::vector<float> data(round % 2 ? 5 : 3000, static_cast<float>(world().rank()));
    all_reduce(group, std::span(data), ReduceOp::max);
    ASSERT_EQ(data.back(), static_cast<float>(world().size() - 1));
  }
}

TEST(Groups, ACommunicatorMayBeMovedAfterItsFirstCollective) {
  std::optional<Communicator> first(world().duplicate("moved"));
  barrier(*first);
  std::optional<Communicator> second(std::move(*first));
  first.reset();
  std::vector<float> data(100000, 1.0f);
  all_reduce(*second, std::span(data), ReduceOp::sum);
  EXPECT_EQ(data[99999], static_cast<float>(world().size()));
  Communicator other = world().duplicate("assigned to");
  barrier(other);
  other = std::move(*second);
  all_reduce(other, std::span(data), ReduceOp::max);
  EXPECT_EQ(data[0], static_cast<float>(world().size()));
}

TEST(Groups, CollectivesOfTwoGroupsMayAlternate) {
  const Communicator rows = world().split(world().rank() / 2, world().rank(), "rows");
  const Communicator cols = world().split(world().rank() % 2, world().rank(), "columns");
  for (int round = 0; round < 20; ++round) {
    std::vector<double> data(static_cast<std::size_t>(round * 400), 1.0);
    all_reduce(rows, std::span(data), ReduceOp::sum);
    all_reduce(cols, std::span(data), ReduceOp::max);
    // The largest row of this rank's column has two members wherever there are two ranks.
    const double row = std::min(2, world().size());
    const bool full = rows.size() == row || cols.size() > 1;
    for (const double value : data) ASSERT_EQ(value, full ? row : 1);
  }
}

}  // namespace
}  // namespace shoal::testing
