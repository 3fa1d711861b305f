// The tuning table: what it says is what the collectives do, on all ranks alike, and what makes no
// sense is refused.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include <shoal/collectives/collectives.hpp>
#include <shoal/collectives/tuning.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "elements.hpp"

namespace shoal::testing {
namespace {

TuningTable::Entry entry(Operation operation, int ranks, int nodes, Memory memory,
                         const std::string& algorithm) {
  return {{operation, ranks, nodes, memory}, {{8, algorithm, {{algorithm, 1.5}}}}};
}

TuningTable sample() {
  TuningTable table;
  table.provenance = {{"processor", "one \"quoted\" µ"}, {"date", "2026-05-31"}};
  table.within_node = Network{1e-6, 1e-10, 2e-10};
  table.between_nodes = Network{25e-6, 8e-9, 1e-10};
  table.parameters = {{Parameter::stage_bytes, 65536}, {Parameter::inline_bytes, 512}};
  table.entries.push_back(entry(Operation::all_reduce, 4, 2, Memory::local, "ring"));
  table.entries.push_back({{Operation::all_reduce, 4, 1, Memory::node_shared},
                           {{8, "recursive_doubling", {{"ring", 3}, {"recursive_doubling", 2}}},
                            {1 << 20, "ring", {{"ring", 100}}}}});
  table.entries.push_back(entry(Operation::barrier, 2, 1, Memory::local, "dissemination"));
  return table;
}

// What use_tuning() has changed does not outlive a test.
struct Tuned {
  explicit Tuned(const TuningTable& table) { use_tuning(table); }
  ~Tuned() { use_tuning(std::nullopt); }
};

TEST(TuningTable, IsReadAsItWasWritten) {
  const TuningTable table = sample();
  const TuningTable again = TuningTable::parse(table.text());
  EXPECT_EQ(again.text(), table.text());
  EXPECT_EQ(again.provenance, table.provenance);
  EXPECT_EQ(again.parameters, table.parameters);
  ASSERT_TRUE(again.within_node && again.between_nodes);
  EXPECT_NEAR(again.between_nodes->beta, 8e-9, 1e-20);
  ASSERT_EQ(again.entries.size(), 3U);
  EXPECT_EQ(again.entries[1].points[0].microseconds.at("ring"), 3);
  EXPECT_EQ(again.entries[1].group.memory, Memory::node_shared);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(TuningTable, RefusesWhatMakesNoSense) {
  const std::string good = sample().text();
  TuningTable::parse(good);
  const std::pair<const char*, const char*> changes[] = {
      {"shoal-tuning-1", "shoal-tuning-2"},
      {"\"ring\"", "\"rung\""},
      {"\"algorithm\": \"ring\"", "\"algorithm\": \"mpi\""},
      {"\"latency_us\": 1.0", "\"latency_us\": -1.0"},
      {"\"latency_us\": 1.0", "\"latency_us\": null"},
      {"65536", "65537"},
      {"65536", "99999999999"},
      {"node.inline_bytes", "node.outline_bytes"},
      {"\"ranks\": 4", "\"ranks\": 1"},
      {"\"ranks\": 4", "\"ranks\": 4.5"},
      {"\"nodes\": 2", "\"nodes\": 5"},
      {"\"bytes\": 1048576", "\"bytes\": 8"},
      {"\"memory\": \"local\"", "\"memory\": \"far\""},
      {"\"choices\"", "\"chances\""},
      {"{", "["},
  };
  for (const auto& [from, to] : changes) {
    EXPECT_THROW(TuningTable::parse(replaced(good, from, to)), Error) << from << " -> " << to;
  }
  for (std::size_t length = 0; length + 2 < good.size(); length += 7) {
    EXPECT_THROW(TuningTable::parse(good.substr(0, length)), Error) << length;
  }
}

TEST(TuningTable, FindsTheMostSimilarGroup) {
  const TuningTable table = sample();
  const auto find = [&](int ranks, int nodes, Memory memory) {
    return table.find({Operation::all_reduce, ranks, nodes, memory});
  };
  EXPECT_EQ(find(4, 2, Memory::local), &table.entries[0]);
  EXPECT_EQ(find(7, 3, Memory::local), &table.entries[0]);
  EXPECT_EQ(find(16, 2, Memory::local), nullptr);  // four times as many
  EXPECT_EQ(find(4, 1, Memory::local), nullptr);   // one node is something else than two
  EXPECT_EQ(find(3, 1, Memory::node_shared), &table.entries[1]);
  const TuningTable::Entry& entry = table.entries[1];
  EXPECT_EQ(TuningTable::nearest(entry, 0)->bytes, 8U);
  EXPECT_EQ(TuningTable::nearest(entry, 1000)->bytes, 8U);
  EXPECT_EQ(TuningTable::nearest(entry, 100000)->bytes, Bytes{1} << 20);
  EXPECT_EQ(TuningTable::nearest(entry, Bytes{1} << 40)->bytes, Bytes{1} << 20);
}

// Sums of halves and quarters are rounded differently by different algorithms, so the bits tell which
// one has run: an all-reduce without a name gives those of the algorithm that the table names.
TEST(Tuning, TheTableDecidesWhichAlgorithmRuns) {
  const int ranks = world().size();
  if (ranks < 3) GTEST_SKIP() << "two terms have one sum";
  constexpr Index count = 5000;
  const auto inputs = inputs_of_all(ranks, count, DType::f32);
  const auto reduce = [&](const Communicator& comm, const std::string& algorithm) {
    Elements data(count, DType::f32);
    data.copy_from(inputs[static_cast<std::size_t>(world().rank())]);
    all_reduce(comm, data.data(), data.data(), count, DType::f32, ReduceOp::sum, {algorithm});
    return data;
  };
  int told_apart = 0;
  for (const std::string name : {"ring", "recursive_doubling", "rabenseifner"}) {
    TuningTable table;
    for (const Memory memory : {Memory::local, Memory::node_shared}) {
      table.entries.push_back(entry(Operation::all_reduce, ranks, world().node_count(), memory, name));
    }
    const Tuned tuned(table);
    const Communicator group = world().duplicate("tuned");
    const Elements chosen = reduce(group, "");
    EXPECT_TRUE(same(chosen.at(0), reduce(group, name).at(0), count, DType::f32)) << name;
    for (const std::string other : {"ring", "recursive_doubling", "rabenseifner", "gathered"}) {
      told_apart += other != name && !same(chosen.at(0), reduce(group, other).at(0), count,
                                           DType::f32);
    }
  }
  EXPECT_GT(told_apart, 0) << "the bits do not tell the algorithms apart";
}

// Where buffers of one kind are better off in the node's memory, no rank may go elsewhere.
TEST(Tuning, OneNodeKeepsToItsMemoryUnlessBothKindsAreBetterOffWithout) {
  if (!world().on_one_node() || !node_memory::available() || world().size() < 3) GTEST_SKIP();
  constexpr Index count = 5000;
  TuningTable table;
  table.entries = {entry(Operation::all_reduce, world().size(), 1, Memory::local, "ring"),
                   entry(Operation::all_reduce, world().size(), 1, Memory::node_shared,
                         "node_shared")};
  const Tuned tuned(table);
  const Communicator group = world().duplicate("tuned");
  const auto inputs = inputs_of_all(world().size(), count, DType::f32);
  const auto& mine = inputs[static_cast<std::size_t>(world().rank())];
  Elements chosen(count, DType::f32), staged(count, DType::f32);
  all_reduce(group, mine.data(), chosen.data(), count, DType::f32, ReduceOp::sum);
  all_reduce(group, mine.data(), staged.data(), count, DType::f32, ReduceOp::sum, {"node_staged"});
  EXPECT_TRUE(same(chosen.at(0), staged.at(0), count, DType::f32));
}

TEST(Tuning, SizesInTheTableChangeNoResult) {
  const auto me = static_cast<std::size_t>(world().rank());
  auto from = generator();
  for (int turn = 0; turn < 4; ++turn) {
    TuningTable table;
    table.parameters = {
        {Parameter::stage_bytes, Bytes{4096} * (4 + from() % 40)},
        {Parameter::inline_bytes, from() % 1025},
        {Parameter::stream_bytes, turn % 2 == 0 ? Bytes{1} : Bytes{1} << 40},
        {Parameter::stage_stream_bytes, turn < 2 ? Bytes{1} : Bytes{1} << 40},
        {Parameter::gathered_short_bytes, from() % 100000},
    };
    const Tuned tuned(TuningTable::parse(table.text()));
    const Communicator group = world().duplicate("tuned");
    for (const Index count : {Index{3}, Index{130}, Index{70000}}) {
      const auto inputs = inputs_of_all(world().size(), count, DType::f32);
      for (const Memory memory : {Memory::local, Memory::node_shared}) {
        for (const char* algorithm : {"", "gathered"}) {
          Elements data(count, DType::f32, memory);
          data.copy_from(inputs[me]);
          all_reduce(group, data.data(), data.data(), count, DType::f32, ReduceOp::sum, {algorithm});
          EXPECT_TRUE(is_reduction(data, inputs, 0, count, ReduceOp::sum));
          EXPECT_TRUE(data.margin_intact());
        }
      }
    }
  }
}

TEST(Tuning, ModelUsesWhatWasMeasured) {
  TuningTable table;
  table.within_node = Network{7e-6, 1e-9, 1e-9};
  table.between_nodes = Network{7e-6, 1e-9, 1e-9};
  const Tuned tuned(table);
  EXPECT_NEAR(typical_network(world()).alpha, 7e-6, 1e-12);
}

}  // namespace
}  // namespace shoal::testing
