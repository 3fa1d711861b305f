// Reproducible sums are the exact sum, rounded once: so they are the same bits for any order of the
// ranks, any number of them, and any algorithm.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include <shoal/collectives/collectives.hpp>
#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/error.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "elements.hpp"

namespace shoal::testing {
namespace {

constexpr std::uint64_t start_hash = 0xcbf29ce484222325u;
constexpr DType floating[] = {DType::f32, DType::f64, DType::bf16, DType::f16};

CollectiveOptions reproducibly(const std::string& algorithm = "") { return {algorithm, true}; }

// "" and those of these ranks' algorithms that can do it.
std::vector<std::string> reproducing(Operation operation) {
  std::vector<std::string> names = algorithm_names(operation);
  for (const Algorithm* algorithm : algorithms(operation)) {
    if (!algorithm->reproduces()) std::erase(names, algorithm->name());
  }
  return names;
}

// Sign of the exact sum of `terms`: an expansion whose parts do not overlap (Shewchuk 1997), of
// which the largest decides. Nothing may overflow.
int sign_of_sum(const std::vector<double>& terms) {
  std::vector<double> parts;
  for (double term : terms) {
    std::vector<double> grown;
    for (const double part : parts) {
      const double sum = term + part;
      const double b = sum - term;
      const double error = (term - (sum - b)) + (part - b);
      if (error != 0) grown.push_back(error);
      term = sum;
    }
    grown.push_back(term);
    parts = grown;
  }
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (*part != 0) return *part > 0 ? 1 : -1;
  }
  return 0;
}

// The neighbour of a finite element, up or down, as a number; and whether its last bit is 0.
double neighbour(double value, DType type, bool up) {
  const double direction = up ? HUGE_VAL : -HUGE_VAL;
  if (type == DType::f64) return std::nextafter(value, direction);
  if (type == DType::f32) {
    return std::nextafter(static_cast<float>(value), static_cast<float>(direction));
  }
  const int digits = type == DType::bf16 ? 8 : 11;
  const int lowest = type == DType::bf16 ? -133 : -24;
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent);
  // Below a power of two the numbers lie twice as close.
  const bool inward = std::abs(fraction) == 0.5 && (value > 0) != up;
  const int step = std::max(exponent - digits - (inward ? 1 : 0), lowest);
  const double unit = std::ldexp(1.0, value == 0 ? lowest : step);
  return value + (up ? unit : -unit);
}

// Little-endian, as all processors that Shoal runs on.
bool is_even(const void* data) { return (*static_cast<const unsigned char*>(data) & 1u) == 0; }

// Whether the element at `data` is the exact sum of the terms, rounded to nearest, ties to even.
::testing::AssertionResult rounded_once(const void* data, DType type,
                                        const std::vector<double>& terms) {
  const double got = get(data, 0, type).real;
  for (const bool up : {false, true}) {
    const double next = neighbour(got, type, up);
    // twice (sum − midpoint) = 2·sum − got − next
    std::vector<double> twice;
    for (const double term : terms) twice.insert(twice.end(), {term, term});
    twice.insert(twice.end(), {-got, -next});
    const int side = sign_of_sum(twice);
    const bool beyond = up ? side > 0 : side < 0;
    if (beyond || (side == 0 && !is_even(data))) {
      return ::testing::AssertionFailure()
             << got << " is not the exact sum rounded: it is nearer to " << next;
    }
  }
  return ::testing::AssertionSuccess();
}

// Terms of all kinds: alike, of very different size, such that most cancels, such that ties arise.
double term(std::mt19937_64& from, DType type, Index index, Rank rank) {
  std::uniform_real_distribution<double> uniform(-1, 1);
  const int spread = type == DType::f64 ? 200 : type == DType::f16 ? 12 : 60;
  switch (index % 5) {
    case 0: return uniform(from);
    case 1: return std::ldexp(uniform(from), static_cast<int>(from() % static_cast<unsigned>(spread)) -
                                                 spread / 2);
    case 2: {
      // A large number and its opposite, and something small between.
      const double large = std::ldexp(1.0 + static_cast<double>(index % 97) / 97, spread / 2 - 1);
      return rank % 3 == 2 ? uniform(from) : rank % 3 == 0 ? large : -large;
    }
    case 3: return std::ldexp(1.0, -static_cast<int>(from() % 30));
    default: {
      // Close to the smallest numbers of the type.
      const int lowest = type == DType::f64 ? -1070 : type == DType::f16 ? -24 : -133;
      return std::ldexp(std::round(uniform(from) * 50), lowest);
    }
  }
}

std::vector<Elements> hard_inputs(int ranks, Index count, DType type) {
  auto from = generator(static_cast<std::uint64_t>(count) + 1000 * static_cast<unsigned>(type));
  std::vector<Elements> inputs;
  for (Rank rank = 0; rank < ranks; ++rank) {
    inputs.emplace_back(count, type);
    for (Index i = 0; i < count; ++i) set(inputs.back().at(i), 0, type, {0, term(from, type, i, rank)});
  }
  return inputs;
}

class Reproducible : public ::testing::TestWithParam<DType> {};

TEST_P(Reproducible, SumIsTheExactOneRoundedOnce) {
  const DType type = GetParam();
  const int ranks = world().size();
  for (const Index count : {Index{1}, Index{7}, Index{250}, Index{1500}, Index{20000}}) {
    const std::vector<Elements> inputs = hard_inputs(ranks, count, type);
    for (const std::string& algorithm : reproducing(Operation::all_reduce)) {
      SCOPED_TRACE(algorithm + ", " + std::to_string(count) + " elements");
      Elements data(count, type, Memory::node_shared);
      data.copy_from(inputs[static_cast<std::size_t>(world().rank())]);
      all_reduce(world(), data.data(), data.data(), count, type, ReduceOp::sum,
                 reproducibly(algorithm));
      for (Index i = 0; i < count; i += 1 + count / 2000) {
        std::vector<double> terms;
        for (const Elements& input : inputs) terms.push_back(input[i].real);
        ASSERT_TRUE(rounded_once(data.at(i), type, terms)) << "element " << i;
      }
      ASSERT_TRUE(data.margin_intact());
      EXPECT_TRUE(agreed(data.hash(start_hash)));
    }
  }
}

// What rank r would bring, another one does; and of a group twice as large, half brings zeros.
TEST_P(Reproducible, SameBitsForAnyOrderAndNumberOfRanksAndAlgorithm) {
  const DType type = GetParam();
  const int ranks = world().size();
  const auto me = static_cast<std::size_t>(world().rank());
  for (const ReduceOp op : {ReduceOp::sum, ReduceOp::avg}) {
    for (const Index count : {Index{5}, Index{1000}, Index{30000}}) {
      const std::vector<Elements> inputs = hard_inputs(ranks, count, type);
      std::vector<std::size_t> order(static_cast<std::size_t>(ranks));
      std::iota(order.begin(), order.end(), std::size_t{0});
      auto from = generator(static_cast<std::uint64_t>(count));
      Elements first(count, type);
      bool have_first = false;
      for (int turn = 0; turn < 3; ++turn) {
        for (const std::string& algorithm : reproducing(Operation::all_reduce)) {
          Elements data(count, type, Memory::node_shared);
          data.copy_from(inputs[order[me]]);
          all_reduce(world(), data.data(), data.data(), count, type, op, reproducibly(algorithm));
          if (!have_first) first.copy_from(data);
          have_first = true;
          EXPECT_TRUE(same(data.at(0), first.at(0), count, type)) << algorithm << ", turn " << turn;
        }
        std::shuffle(order.begin(), order.end(), from);
      }
      if (op != ReduceOp::sum) continue;
      for (int fewer = 1; fewer < ranks; fewer += std::max(1, (ranks - 1) / 2)) {
        const Communicator part =
            world().split(world().rank() < fewer ? 0 : 1, world().rank(), "part");
        Elements whole(count, type);
        whole.copy_from(inputs[me]);
        Elements zero(count, type);
        for (Index i = 0; i < count; ++i) set(zero.at(i), 0, type, {0, 0.0});
        if (world().rank() >= fewer) whole.copy_from(zero);
        all_reduce(world(), whole.data(), whole.data(), count, type, op, reproducibly());
        if (world().rank() >= fewer) continue;
        Elements alone(count, type);
        alone.copy_from(inputs[me]);
        all_reduce(part, alone.data(), alone.data(), count, type, op, reproducibly());
        for (Index i = 0; i < count; ++i) {
          // A sum of −0 alone is −0; with a +0 of another rank it is +0.
          if (alone[i].real == 0 && whole[i].real == 0) continue;
          ASSERT_TRUE(same(alone.at(i), whole.at(i), 1, type)) << fewer << " ranks, element " << i;
        }
      }
    }
  }
}

TEST_P(Reproducible, ReduceScatterGivesTheBlocksOfAllReduce) {
  const DType type = GetParam();
  const int ranks = world().size();
  const auto me = static_cast<std::size_t>(world().rank());
  for (const Index each : {Index{1}, Index{33}, Index{4100}}) {
    for (const bool even : {true, false}) {
      // Uneven: blocks of other lengths, none for one rank; chunks and lines end anywhere.
      std::vector<Index> counts(static_cast<std::size_t>(ranks), each);
      for (std::size_t rank = 0; !even && rank < counts.size(); ++rank) {
        counts[rank] = rank == 1 ? 0 : each * (1 + static_cast<Index>(rank % 3)) + static_cast<Index>(rank);
      }
      const Index count = std::accumulate(counts.begin(), counts.end(), Index{0});
      const Index start = std::accumulate(counts.begin(), counts.begin() + world().rank(), Index{0});
      const std::vector<Elements> inputs = hard_inputs(ranks, count, type);
      Elements whole(count, type);
      all_reduce(world(), inputs[me].data(), whole.data(), count, type, ReduceOp::sum, reproducibly());
      int turn = 0;
      for (const std::string& algorithm : reproducing(Operation::reduce_scatter)) {
        const bool by_address = algorithm.find("shared") != std::string::npos;
        const Memory memory = by_address || turn++ % 2 == 0 ? Memory::node_shared : Memory::local;
        Elements in(count, type, memory);
        in.copy_from(inputs[me]);
        Elements out(counts[me], type, memory);
        reduce_scatter(world(), in.data(), out.data(), counts, type, ReduceOp::sum, reproducibly(algorithm));
        EXPECT_TRUE(same(out.at(0), whole.at(start), counts[me], type)) << algorithm;
        EXPECT_TRUE(out.margin_intact());
        if (!even) continue;
        reduce_scatter(world(), in.data(), in.at(start), counts, type, ReduceOp::sum, reproducibly(algorithm));
        EXPECT_TRUE(same(in.at(start), whole.at(start), counts[me], type)) << algorithm << ", in place";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Reproducible, ::testing::ValuesIn(floating),
                         [](const auto& param) { return std::string(name_of(param.param)); });

std::uint64_t bits_of(const Elements& data, Index index) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, data.at(index), size_of(data.type()));
  return bits;
}

// By rank: what it brings in turn; every rank after the list brings the last of it.
Elements sum_of(DType type, const std::string& algorithm, const std::vector<double>& terms) {
  constexpr Index count = 19;  // an odd number of vectors
  Elements data(count, type, Memory::node_shared);
  const auto me = static_cast<std::size_t>(world().rank());
  for (Index i = 0; i < count; ++i) {
    const std::size_t turn = (me + static_cast<std::size_t>(i)) % static_cast<std::size_t>(world().size());
    set(data.at(i), 0, type, {0, terms[std::min(turn, terms.size() - 1)]});
  }
  all_reduce(world(), data.data(), data.data(), count, type, ReduceOp::sum, reproducibly(algorithm));
  return data;
}

TEST(ReproducibleSpecials, AreThoseOfExactAdditionAndAlwaysTheSameBits) {
  const double infinity = std::numeric_limits<double>::infinity();
  if (world().size() < 3) GTEST_SKIP() << "needs three terms";
  for (const DType type : floating) {
    const double most = type == DType::f64   ? std::numeric_limits<double>::max()
                        : type == DType::f32 ? double{std::numeric_limits<float>::max()}
                        : type == DType::bf16 ? 0x1.fep127
                                              : 65504.0;
    const std::uint64_t nan = type == DType::f64   ? 0x7ff8000000000000u
                              : type == DType::f32 ? 0x7fc00000u
                              : type == DType::bf16 ? 0x7fc0u
                                                    : 0x7e00u;
    for (const std::string& algorithm : reproducing(Operation::all_reduce)) {
      SCOPED_TRACE(std::string(name_of(type)) + " " + algorithm);
      const auto all = [&](const std::vector<double>& terms, const auto& good) {
        const Elements got = sum_of(type, algorithm, terms);
        for (Index i = 0; i < got.count(); ++i) {
          EXPECT_TRUE(good(got, i)) << "element " << i << " is " << got[i].real;
        }
      };
      const auto is = [](double value) {
        return [value](const Elements& got, Index i) {
          return got[i].real == value && std::signbit(got[i].real) == std::signbit(value);
        };
      };
      const auto is_nan = [nan](const Elements& got, Index i) { return bits_of(got, i) == nan; };
      all({1, NAN, 2, 0}, is_nan);
      all({-NAN, 1, NAN, 0}, is_nan);
      all({infinity, -infinity, 1, 0}, is_nan);
      all({infinity, -infinity, NAN, 0}, is_nan);
      all({infinity, 1, infinity, 0}, is(infinity));
      all({1, -infinity, 2, 0}, is(-infinity));
      all({most, most, -most, 0}, is(most));  // no sum in between overflows
      all({-most, most, -most, 0}, is(-most));
      all({most, most, 1, 0}, is(infinity));
      all({-most, -most, 0}, is(-infinity));
      all({-0.0}, is(-0.0));
      all({-0.0, 0.0, -0.0}, is(0.0));
      all({1, -1, -0.0}, is(0.0));
      all({most, -most, 0}, is(0.0));
    }
  }
}

TEST(ReproducibleOptions, AnAlgorithmOfPartialSumsIsRefusedOnAllRanks) {
  if (world().size() < 2) GTEST_SKIP() << "one rank needs no algorithm";
  std::vector<float> data(10, 1);
  EXPECT_THROW(all_reduce(world(), std::span(data), ReduceOp::sum, reproducibly("ring")), Error);
  // It makes no difference to integers, and all ranks are still in step.
  std::vector<std::int32_t> numbers(10, 1);
  all_reduce(world(), std::span(numbers), ReduceOp::sum, reproducibly("ring"));
  EXPECT_EQ(numbers[9], world().size());
}

// What the default promises: the same bits at every run on the same ranks, by each algorithm.
TEST(DefaultSums, AreTheSameBitsEveryTime) {
  const auto me = static_cast<std::size_t>(world().rank());
  for (const DType type : floating) {
    for (const Index count : {Index{3}, Index{1000}, Index{70001}}) {
      const std::vector<Elements> inputs = hard_inputs(world().size(), count, type);
      for (const std::string& algorithm : algorithm_names(Operation::all_reduce)) {
        if (algorithm == "mpi") continue;  // promises nothing
        Elements first(count, type);
        for (int turn = 0; turn < 4; ++turn) {
          Elements data(count, type, Memory::node_shared);
          data.copy_from(inputs[me]);
          all_reduce(world(), data.data(), data.data(), count, type, ReduceOp::sum, {algorithm});
          if (turn == 0) first.copy_from(data);
          EXPECT_TRUE(same(data.at(0), first.at(0), count, type)) << algorithm;
        }
      }
    }
  }
}

}  // namespace
}  // namespace shoal::testing
