// More than 2^31 bytes, and with bytes as elements more than 2^31 elements: nothing on the way may
// hold a length or a place in 32 bits. Two ranks, one buffer each way, so that 16 GiB are enough.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <shoal/collectives/collectives.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/memory_left.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "elements.hpp"

namespace shoal::testing {
namespace {

// What rank `rank` brings at `index`: small whole numbers, so that sums are exact, that differ
// wherever a place is off by a power of two.
class Pattern {
 public:
  Pattern() : factor_(generator()() | 1) {}
  template <class T>
  T value(Rank rank, Index index) const {
    const auto at = static_cast<std::uint64_t>(index) * 2 + static_cast<std::uint64_t>(rank);
    return static_cast<T>((at * factor_) >> 58);
  }

 private:
  std::uint64_t factor_;
};

template <class T>
class Huge : public ::testing::Test {
 protected:
  // An odd number more than 2^31 bytes hold, so that no cut is even.
  static constexpr Index count = (Index{1} << 31) / Index{sizeof(T)} + 77;

  void SetUp() override {
    constexpr Bytes needed = Bytes{14} << 30;
    std::int64_t left = static_cast<std::int64_t>(
        std::min<Bytes>(memory_left().bytes, std::numeric_limits<std::int64_t>::max()));
    all_reduce(world(), std::span(&left, 1), ReduceOp::min);
    if (left < static_cast<std::int64_t>(needed)) {
      GTEST_SKIP() << "needs 14 GiB of memory, " << (left >> 30) << " are left";
    }
    ASSERT_EQ(world().size(), 2);
  }

  Rank me() const { return world().rank(); }
  Rank other() const { return 1 - world().rank(); }

  // Elements first, first + 1, ... of what `rank` brings, into `to`.
  void fill(T* to, Rank rank, Index first, Index length) const {
    for (Index i = 0; i < length; ++i) to[i] = pattern_.template value<T>(rank, first + i);
  }
  Buffer<T> input(Index length, Memory memory = Memory::local) const {
    Buffer<T> data(length, memory);
    fill(data.data(), me(), 0, length);
    return data;
  }
  static Buffer<T> poisoned(Index length, Memory memory = Memory::local) {
    Buffer<T> data(length, memory);
    std::memset(static_cast<void*>(data.data()), 0xa5, static_cast<Bytes>(length) * sizeof(T));
    return data;
  }

  // The first element that is not `wanted(i)`; all are looked at.
  template <class Wanted>
  static ::testing::AssertionResult all_are(const T* got, Index length, Wanted&& wanted) {
    constexpr Index step = 1 << 16;
    for (Index begin = 0; begin < length; begin += step) {
      const Index end = std::min(length, begin + step);
      Index wrong = 0;
      for (Index i = begin; i < end; ++i) wrong += got[i] != wanted(i) ? 1 : 0;
      if (wrong == 0) continue;
      for (Index i = begin; i < end; ++i) {
        if (got[i] == wanted(i)) continue;
        return ::testing::AssertionFailure() << "element " << i << " of " << length << " is "
                                             << +got[i] << ", not " << +wanted(i);
      }
    }
    return ::testing::AssertionSuccess();
  }
  ::testing::AssertionResult is_of(const T* got, Rank rank, Index first, Index length) const {
    return all_are(got, length,
                   [&](Index i) { return pattern_.template value<T>(rank, first + i); });
  }
  ::testing::AssertionResult is_sum(const T* got, Index first, Index length) const {
    return all_are(got, length, [&](Index i) {
      return static_cast<T>(pattern_.template value<T>(0, first + i) +
                            pattern_.template value<T>(1, first + i));
    });
  }

  // In place for one of the two types, apart for the other, so that every algorithm does both; the
  // automatic choice and those on a node do both for each.
  static std::vector<bool> ways(const std::string& algorithm) {
    if (algorithm.empty() || algorithm.starts_with("node_")) return {false, true};
    return {sizeof(T) == 1};
  }
  static Memory memory_for(const std::string& algorithm) {
    return algorithm == "node_shared" ? Memory::node_shared : Memory::local;
  }
  // Those that can do so many elements: MPI's own takes counts of 31 bits.
  static std::vector<std::string> algorithms_for(Operation operation) {
    std::vector<std::string> names = algorithm_names(operation);
    if (count > std::numeric_limits<int>::max()) std::erase(names, "mpi");
    return names;
  }

  // Counts of which the first passes 2^31 bytes, so that the second starts beyond.
  const std::vector<Index> counts_{count, 5};
  Index my_start() const { return me() == 0 ? 0 : count; }
  Index my_count() const { return counts_[static_cast<std::size_t>(me())]; }

  Pattern pattern_;
};

using Types = ::testing::Types<std::int8_t, double>;
TYPED_TEST_SUITE(Huge, Types);

TYPED_TEST(Huge, AllReduce) {
  for (const std::string& algorithm : this->algorithms_for(Operation::all_reduce)) {
    for (const bool in_place : this->ways(algorithm)) {
      SCOPED_TRACE(algorithm + (in_place ? " in place" : ""));
      const Memory memory = this->memory_for(algorithm);
      const auto in = this->input(this->count, memory);
      const auto apart = this->poisoned(in_place ? 0 : this->count, memory);
      TypeParam* out = in_place ? in.data() : apart.data();
      all_reduce(world(), in.data(), out, this->count, dtype_of<TypeParam>, ReduceOp::sum,
                 {algorithm});
      ASSERT_TRUE(this->is_sum(out, 0, this->count));
      ASSERT_TRUE(in_place || this->is_of(in.data(), this->me(), 0, this->count));
    }
  }
}

TYPED_TEST(Huge, AllReduceInTheBackground) {
  const auto data = this->input(this->count);
  Work work = start_all_reduce(world(), data.span(), ReduceOp::sum);
  work.wait();
  ASSERT_TRUE(this->is_sum(data.data(), 0, this->count));
}

TYPED_TEST(Huge, ReproducibleAllReduce) {
  const auto data = this->input(this->count);
  CollectiveOptions options;
  options.reproducible = true;
  all_reduce(world(), data.span(), ReduceOp::sum, options);
  ASSERT_TRUE(this->is_sum(data.data(), 0, this->count));
}

TYPED_TEST(Huge, ReduceScatter) {
  const Index total = this->count + this->counts_[1];
  for (const std::string& algorithm : this->algorithms_for(Operation::reduce_scatter)) {
    for (const bool in_place : this->ways(algorithm)) {
      SCOPED_TRACE(algorithm + (in_place ? " in place" : ""));
      const Memory memory = this->memory_for(algorithm);
      const auto in = this->input(total, memory);
      const auto apart = this->poisoned(in_place ? 0 : this->my_count(), memory);
      TypeParam* out = in_place ? in.data() + this->my_start() : apart.data();
      reduce_scatter(world(), in.data(), out, this->counts_, dtype_of<TypeParam>, ReduceOp::sum,
                     {algorithm});
      ASSERT_TRUE(this->is_sum(out, this->my_start(), this->my_count()));
    }
  }
}

TYPED_TEST(Huge, AllGather) {
  const Index total = this->count + this->counts_[1];
  for (const std::string& algorithm : this->algorithms_for(Operation::all_gather)) {
    for (const bool in_place : this->ways(algorithm)) {
      SCOPED_TRACE(algorithm + (in_place ? " in place" : ""));
      const Memory memory = this->memory_for(algorithm);
      const auto out = this->poisoned(total, memory);
      const auto apart = this->input(in_place ? 0 : this->my_count(), memory);
      TypeParam* in = in_place ? out.data() + this->my_start() : apart.data();
      if (in_place) this->fill(in, this->me(), 0, this->my_count());
      all_gather(world(), in, out.data(), this->counts_, dtype_of<TypeParam>, {algorithm});
      ASSERT_TRUE(this->is_of(out.data(), 0, 0, this->counts_[0]));
      ASSERT_TRUE(this->is_of(out.data() + this->counts_[0], 1, 0, this->counts_[1]));
    }
  }
}

TYPED_TEST(Huge, Broadcast) {
  Rank root = 0;
  for (const std::string& algorithm : this->algorithms_for(Operation::broadcast)) {
    SCOPED_TRACE(algorithm + " from " + std::to_string(root));
    const Memory memory = this->memory_for(algorithm);
    const auto data = this->me() == root ? this->input(this->count, memory)
                                         : this->poisoned(this->count, memory);
    broadcast(world(), data.data(), this->count, dtype_of<TypeParam>, root, {algorithm});
    ASSERT_TRUE(this->is_of(data.data(), root, 0, this->count));
    root = 1 - root;
  }
}

// Between the two ranks more than 2^31 bytes each way: behind something in the input of rank 0 and in
// the output of rank 1, before something in the others.
TYPED_TEST(Huge, AllToAllOfUnevenBlocks) {
  const std::vector<Index> of_0{3, this->count}, of_1{this->count, 5};
  const std::vector<Index>& mine = this->me() == 0 ? of_0 : of_1;  // the matrix is symmetric
  const Index total = mine[0] + mine[1];
  for (const std::string& algorithm : this->algorithms_for(Operation::all_to_all)) {
    SCOPED_TRACE(algorithm);
    const Memory memory = this->memory_for(algorithm);
    const auto in = this->input(total, memory);
    const auto out = this->poisoned(total, memory);
    all_to_all(world(), in.data(), mine, out.data(), mine, dtype_of<TypeParam>, {algorithm});
    // What rank 0 has for this one starts behind its own block, or at its start; so does rank 1's.
    ASSERT_TRUE(this->is_of(out.data(), 0, this->me() == 0 ? 0 : of_0[0], mine[0]));
    ASSERT_TRUE(this->is_of(out.data() + mine[0], 1, this->me() == 0 ? 0 : of_1[0], mine[1]));
  }
}

TYPED_TEST(Huge, AllToAllOfEvenBlocks) {
  const Index each = this->count / 2 + 1;
  for (const std::string& algorithm : this->algorithms_for(Operation::all_to_all)) {
    SCOPED_TRACE(algorithm);
    const Memory memory = this->memory_for(algorithm);
    const auto in = this->input(2 * each, memory);
    const auto out = this->poisoned(2 * each, memory);
    all_to_all(world(), in.data(), out.data(), each, dtype_of<TypeParam>, {algorithm});
    for (const Rank from : {0, 1}) {
      ASSERT_TRUE(this->is_of(out.data() + from * each, from, this->me() * each, each));
    }
  }
}

TYPED_TEST(Huge, PointToPoint) {
  const auto in = this->input(this->count);
  const auto out = this->poisoned(this->count);
  send_receive(world(), in.data(), this->count, this->other(), out.data(), this->count,
               this->other(), dtype_of<TypeParam>);
  ASSERT_TRUE(this->is_of(out.data(), this->other(), 0, this->count));
}

}  // namespace
}  // namespace shoal::testing
