// All-reduce and reduce-scatter: every algorithm gives the reduction that fp64 (or wrapping integer
// arithmetic) gives, the same bits on every rank.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>
#include <tuple>
#include <vector>

#include <shoal/collectives/collectives.hpp>
#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "elements.hpp"

namespace shoal::testing {
namespace {

class Reductions : public ::testing::TestWithParam<std::tuple<DType, ReduceOp>> {};

constexpr std::uint64_t start_hash = 0xcbf29ce484222325u;

// All ranks' inputs of one type, drawn once for all that is done with it: every rank draws those of all
// ranks, which would take most of the time where there are many.
const std::vector<Elements>& inputs_for(DType type, Index count) {
  static std::optional<DType> drawn;
  static std::map<Index, std::vector<Elements>> inputs;
  if (drawn != type) inputs.clear();
  drawn = type;
  const auto [place, fresh] = inputs.try_emplace(count);
  if (fresh) place->second = inputs_of_all(world().size(), count, type);
  return place->second;
}

TEST_P(Reductions, AllReduceGivesTheReductionOnAllRanks) {
  const auto [type, op] = GetParam();
  const auto me = static_cast<std::size_t>(world().rank());
  std::uint64_t hash = start_hash;
  int number = 0;
  for (const Index count : lengths) {
    const std::vector<Elements>& inputs = inputs_for(type, count);
    const std::vector<Expected> wanted = expected(inputs, op);
    for (const std::string& algorithm : algorithm_names(Operation::all_reduce)) {
      // All ways for one type and operation; the others take turns.
      const bool all_ways = type == DType::f32 && op == ReduceOp::sum;
      for (int way = all_ways ? 0 : number % 12; way < 12; way += all_ways ? 1 : 12) {
        const auto where = static_cast<Where>(way % 3);
        const bool in_place = way / 3 % 2 == 0;
        const Index shift = way / 6;
        if (!fits(algorithm, where, false)) continue;
        SCOPED_TRACE(algorithm + ", " + std::to_string(count) + " elements, way " +
                     std::to_string(way));
        Elements in(count, type, memory_of(where, world().rank()), shift);
        in.copy_from(inputs[me]);
        Elements apart(count, type, memory_of(where, world().rank()), shift);
        Elements& out = in_place ? in : apart;
        all_reduce(world(), in.data(), out.data(), count, type, op, {algorithm});
        ASSERT_TRUE(is_reduction(out, wanted, 0, count));
        ASSERT_TRUE(out.margin_intact());
        ASSERT_TRUE(in_place || same(in.at(0), inputs[me].at(0), count, type));
        hash = out.hash(hash);
      }
      ++number;
    }
  }
  EXPECT_TRUE(agreed(hash)) << "the ranks' results differ in some bits";
}

// Blocks of all sizes, empty ones among them.
std::vector<Index> uneven(int ranks, Index total) {
  std::vector<Index> counts;
  for (Rank rank = 0; rank + 1 < ranks; ++rank) {
    counts.push_back(rank % 3 == 1 ? 0 : total / (rank + 2));
    total -= counts.back();
  }
  counts.push_back(total);
  return counts;
}

TEST_P(Reductions, ReduceScatterGivesEachRankItsBlock) {
  const auto [type, op] = GetParam();
  const int ranks = world().size();
  const auto me = static_cast<std::size_t>(world().rank());
  int number = 0;
  for (const Index total : lengths) {
    const std::vector<Elements>& inputs = inputs_for(type, total);
    const std::vector<Index> counts = uneven(ranks, total);
    Index first = 0;
    for (std::size_t rank = 0; rank < me; ++rank) first += counts[rank];
    for (const std::string& algorithm : algorithm_names(Operation::reduce_scatter)) {
      const int way = number++ % 6;
      const auto where = static_cast<Where>(way % 3);
      const bool in_place = way / 3 == 1;
      if (!fits(algorithm, where, false)) continue;
      SCOPED_TRACE(algorithm + ", " + std::to_string(total) + " elements, way " +
                   std::to_string(way));
      Elements in(total, type, memory_of(where, world().rank()));
      in.copy_from(inputs[me]);
      Elements out(counts[me], type, memory_of(where, world().rank()));
      void* target = in_place ? in.at(first) : out.data();
      reduce_scatter(world(), in.data(), target, counts, type, op, {algorithm});
      if (in_place && counts[me] > 0) {
        Elements copy(counts[me], type);
        std::copy_n(static_cast<std::byte*>(target),
                    static_cast<Bytes>(counts[me]) * size_of(type),
                    static_cast<std::byte*>(copy.at(0)));
        out.copy_from(copy);
      }
      ASSERT_TRUE(is_reduction(out, inputs, first, counts[me], op));
      ASSERT_TRUE(out.margin_intact());
      ASSERT_TRUE(in.margin_intact());
      ASSERT_TRUE(in_place || same(in.at(0), inputs[me].at(0), total, type));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Reductions,
                         ::testing::Combine(::testing::ValuesIn(all_dtypes),
                                            ::testing::ValuesIn(all_reduce_ops)),
                         [](const auto& param) {
                           return std::string(name_of(std::get<0>(param.param))) + "_" +
                                  std::string(name_of(std::get<1>(param.param)));
                         });

TEST(Laws, ReduceScatterThenAllGatherIsAllReduce) {
  const int ranks = world().size();
  for (const Index each : {1, 5, 1000, 40000}) {
    Buffer<std::int32_t> in(each * ranks, Memory::node_shared);
    auto from = generator(static_cast<std::uint64_t>(world().rank()));
    for (auto& value : in) value = static_cast<std::int32_t>(from());
    Buffer<std::int32_t> part(each), whole(each * ranks), direct(each * ranks);
    reduce_scatter(world(), in.data(), part.data(), each, DType::i32, ReduceOp::sum);
    all_gather(world(), part.data(), each, whole.data(), DType::i32);
    all_reduce(world(), in.data(), direct.data(), in.size(), DType::i32, ReduceOp::sum);
    EXPECT_TRUE(same(whole.data(), direct.data(), in.size(), DType::i32));
  }
}

// Short sums go through the announcement, or directly where the last ones were shared: whatever the ranks
// bring next, each by itself. Longer ones are shared out where ranks share cores, or pass the caches.
TEST(Laws, SumsAreRightWhateverBuffersTheLastOnesHad) {
  std::mt19937_64 common = generator();
  const int ranks = world().size();
  for (const Index count : {256, 2048, 5000, 65536 + 3, 300000}) {
    const int calls = count < 10000 ? 24 : 4;
    for (int call = 0; call < calls; ++call) {
      const auto inputs = inputs_of_all(ranks, count, DType::f32);
      // All shared for some calls, so that there is a habit to break with.
      std::vector<Memory> memory(static_cast<std::size_t>(ranks), Memory::node_shared);
      if (call % 4 == 3) {
        for (Memory& each : memory) each = common() % 2 == 0 ? Memory::local : Memory::node_shared;
      }
      const auto me = static_cast<std::size_t>(world().rank());
      const bool in_place = common() % 2 == 0;
      Elements in(count, DType::f32, memory[me]);
      Elements out(count, DType::f32, memory[me]);
      Elements& from = in_place ? out : in;
      out.poison();
      from.copy_from(inputs[me]);
      all_reduce(world(), from.data(), out.data(), count, DType::f32, ReduceOp::sum);
      ASSERT_TRUE(is_reduction(out, inputs, 0, count, ReduceOp::sum)) << count << ", call " << call;
      ASSERT_TRUE(out.margin_intact());
    }
  }
}

TEST(Rounding, HalfPrecisionSumsOnANodeAreRoundedOnce) {
  // 256 + 1 + 1 + ... : in bf16 every single 1 would be lost.
  std::vector<bfloat16> data(100, to_bfloat16(world().rank() == 0 ? 256.0f : 1.0f));
  if (world().size() > 1 && !(world().on_one_node() && node_memory::available())) return;
  all_reduce(world(), std::span(data), ReduceOp::sum, {"node_staged"});
  const float exact = 256.0f + static_cast<float>(world().size() - 1);
  for (const bfloat16 value : data) EXPECT_EQ(value, to_bfloat16(exact));
}

}  // namespace
}  // namespace shoal::testing
