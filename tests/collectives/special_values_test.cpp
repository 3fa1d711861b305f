// NaN, infinities, zeros of both signs and numbers that overflow, in any mixture over the ranks and at any
// place of a vector. Sums and products follow IEEE 754, whatever the order; of min and max MPI says
// nothing, and here a NaN of any rank is the result.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <shoal/collectives/collectives.hpp>
#include <shoal/collectives/registry.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "elements.hpp"

namespace shoal::testing {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::uint64_t hash_start = 0xcbf29ce484222325u;
constexpr DType floating[] = {DType::f32, DType::f64, DType::bf16, DType::f16};
// In the slots of small messages, in pieces of a few lines, and in several chunks of a stage.
constexpr Index mixed_lengths[] = {1, 67, 3001, 70003};

// Finite ones are exact in all types, and so are sums of them and powers of two.
double mixed_value(std::mt19937_64& from) {
  constexpr double rare[] = {NAN, infinity, -infinity, 0.0, -0.0, 2.0, -1.0};
  const std::uint64_t bits = from();
  return bits % 16 == 0 ? rare[(bits >> 8) % std::size(rare)] : 1.0;
}

struct Kinds {
  bool nan = false, plus = false, minus = false, zero = false, negative = false;
  double sum = 0, product = 1, least = infinity, most = -infinity;
  void add(double x) {
    nan = nan || std::isnan(x);
    plus = plus || x == infinity;
    minus = minus || x == -infinity;
    zero = zero || x == 0;
    negative = negative != std::signbit(x);
    if (std::isfinite(x)) sum += x, product *= x;
    least = std::min(least, x), most = std::max(most, x);
  }
  // Worked out from what there is, not by adding it up in some order.
  double reduced(ReduceOp op, int ranks) const {
    if (nan) return NAN;
    switch (op) {
      case ReduceOp::min: return least;
      case ReduceOp::max: return most;
      case ReduceOp::prod:
        if (!plus && !minus) return product;
        return zero ? NAN : negative ? -infinity : infinity;
      case ReduceOp::sum:
      case ReduceOp::avg: break;
    }
    if (plus && minus) return NAN;
    if (plus || minus) return plus ? infinity : -infinity;
    return op == ReduceOp::avg ? sum / ranks : sum;
  }
};

class Mixed : public ::testing::TestWithParam<DType> {
 protected:
  // All ranks' values at each place, the same on every rank.
  void draw(Index count) {
    kinds_.assign(static_cast<std::size_t>(count), {});
    mine_.clear();
    for (Rank rank = 0; rank < world().size(); ++rank) {
      auto from = generator(static_cast<std::uint64_t>(rank) * 1000003 +
                            static_cast<std::uint64_t>(count));
      for (Kinds& at : kinds_) {
        const double x = mixed_value(from);
        at.add(x);
        if (rank == world().rank()) mine_.push_back(x);
      }
    }
  }
  Elements input() const {
    Elements data(static_cast<Index>(mine_.size()), GetParam(), Memory::node_shared);
    for (std::size_t i = 0; i < mine_.size(); ++i) {
      set(data.at(static_cast<Index>(i)), 0, GetParam(), {0, mine_[i]});
    }
    return data;
  }
  ::testing::AssertionResult is_right(const Elements& got, Index first, ReduceOp op) const {
    const double ulp = GetParam() == DType::f64   ? 0x1p-52
                       : GetParam() == DType::f32 ? 0x1p-23
                       : GetParam() == DType::f16 ? 0x1p-10
                                                  : 0x1p-7;
    for (Index i = 0; i < got.count(); ++i) {
      const double x = got[i].real;
      const double wanted =
          kinds_[static_cast<std::size_t>(first + i)].reduced(op, world().size());
      // An average of small whole numbers is rounded, the rest is exact.
      const double off = op == ReduceOp::avg ? (1 + world().size()) * ulp * 3 : 0;
      if (std::isnan(wanted) ? std::isnan(x) : x == wanted || std::abs(x - wanted) <= off) continue;
      return ::testing::AssertionFailure()
             << "element " << first + i << " is " << x << ", not " << wanted;
    }
    return ::testing::AssertionSuccess();
  }

  std::vector<Kinds> kinds_;
  std::vector<double> mine_;
};

TEST_P(Mixed, AllReduceFollowsTheStandard) {
  for (const Index count : mixed_lengths) {
    draw(count);
    for (const std::string& algorithm : algorithm_names(Operation::all_reduce)) {
      for (const ReduceOp op : all_reduce_ops) {
        SCOPED_TRACE(algorithm + " " + std::string(name_of(op)) + ", " + std::to_string(count));
        const Elements data = input();
        all_reduce(world(), data.data(), data.data(), count, GetParam(), op, {algorithm});
        ASSERT_TRUE(is_right(data, 0, op));
        ASSERT_TRUE(agreed(data.hash(hash_start))) << "not the same bits on all ranks";
      }
    }
  }
}

TEST_P(Mixed, ReduceScatterFollowsTheStandard) {
  for (const Index length : mixed_lengths) {
    const Index each = std::max<Index>(1, length / world().size());
    draw(each * world().size());
    for (const std::string& algorithm : algorithm_names(Operation::reduce_scatter)) {
      for (const ReduceOp op : all_reduce_ops) {
        SCOPED_TRACE(algorithm + " " + std::string(name_of(op)) + ", " + std::to_string(each));
        const Elements in = input();
        const Elements out(each, GetParam(), Memory::node_shared);
        const std::vector<Index> counts(static_cast<std::size_t>(world().size()), each);
        reduce_scatter(world(), in.data(), out.data(), counts, GetParam(), op, {algorithm});
        ASSERT_TRUE(is_right(out, each * world().rank(), op));
      }
    }
  }
}

// Two that are finite, but whose sum or product is not.
TEST_P(Mixed, WhatIsTooLargeIsInfinite) {
  const double large = GetParam() == DType::f64   ? 0x1p1023
                       : GetParam() == DType::f16 ? 0x1p15
                                                  : 0x1p127;
  if (world().size() == 1) return;
  for (const std::string& algorithm : algorithm_names(Operation::all_reduce)) {
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::prod}) {
      SCOPED_TRACE(algorithm + " " + std::string(name_of(op)));
      Elements data(301, GetParam(), Memory::node_shared);
      for (Index i = 0; i < data.count(); ++i) {
        const Rank first = static_cast<Rank>(i % world().size());
        const bool mine = world().rank() == first || world().rank() == (first + 1) % world().size();
        const double other = op == ReduceOp::sum ? 0 : 1;
        set(data.at(i), 0, GetParam(), {0, !mine ? other : i % 2 ? large : -large});
      }
      all_reduce(world(), data.data(), data.data(), data.count(), GetParam(), op, {algorithm});
      for (Index i = 0; i < data.count(); ++i) {
        const bool plus = op == ReduceOp::prod || i % 2;
        ASSERT_EQ(data[i].real, plus ? infinity : -infinity) << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Mixed, ::testing::ValuesIn(floating),
                         [](const auto& param) { return std::string(name_of(param.param)); });

TEST(SpecialValues, SignedZerosGiveTheSameBitsOnAllRanks) {
  for (const std::string& algorithm : algorithm_names(Operation::all_reduce)) {
    for (const ReduceOp op : {ReduceOp::min, ReduceOp::max}) {
      Elements data(33, DType::f32, Memory::node_shared);
      for (Index i = 0; i < data.count(); ++i) {
        set(data.at(i), 0, DType::f32, {0, (i + world().rank()) % 2 ? 0.0 : -0.0});
      }
      all_reduce(world(), data.data(), data.data(), data.count(), DType::f32, op, {algorithm});
      EXPECT_TRUE(agreed(data.hash(hash_start))) << algorithm;
    }
  }
}

}  // namespace
}  // namespace shoal::testing
