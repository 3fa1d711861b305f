// Calls that make no sense, and what the registry says.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <shoal/collectives/collectives.hpp>
#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/cores.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/wait.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "elements.hpp"

namespace shoal::testing {
namespace {

// The text of the Error that `call` throws; fails the test if it throws none.
std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.message();
  }
  ADD_FAILURE() << "no Error was thrown";
  return {};
}

// Also where the machine poses as several nodes: who spins there keeps whom it waits for off the core.
TEST(Waiting, RanksSpinOnlyWhereTheMachineHasACoreForEach) {
  if (world().size() <= sysconf(_SC_NPROCESSORS_ONLN)) GTEST_SKIP() << "there are enough cores";
  EXPECT_FALSE(ranks_own_their_cores());
}

TEST(Waiting, CrowdingIsRanksForEachThreadAndAtLeastOne) {
  const double machine = static_cast<double>(world().size()) / node_threads();
  EXPECT_GE(ranks_per_thread(), std::max(1.0, machine));  // more only where a quota grants less
  double others = ranks_per_thread();
  all_reduce(world(), &others, &others, 1, DType::f64, ReduceOp::min);
  EXPECT_EQ(others, ranks_per_thread());
}

TEST(BadCalls, ArgumentsThatMakeNoSense) {
  float data[8] = {};
  const auto run = [&](Index count) {
    all_reduce(world(), data, data, count, DType::f32, ReduceOp::sum);
  };
  EXPECT_NE(error_of([&] { run(-1); }).find("-1"), std::string::npos);
  error_of([&] { run(std::numeric_limits<Index>::max()); });
  error_of([&] { all_reduce(world(), data, data + 1, 4, DType::f32, ReduceOp::sum); });
  error_of([&] { all_reduce(world(), nullptr, data, 4, DType::f32, ReduceOp::sum); });
  error_of([&] { broadcast(world(), data, 4, DType::f32, world().size()); });
  error_of([&] { broadcast(world(), data, 4, DType::f32, -1); });
  const std::vector<Index> too_many(static_cast<std::size_t>(world().size()) + 1, 1);
  error_of([&] { all_gather(world(), data, data, too_many, DType::f32); });
  error_of([&] { send(world(), data, 1, DType::f32, world().size()); });
  error_of([&] { send(world(), data, 1, DType::f32, 0, most_tag + 1); });
  error_of([&] { send(world(), nullptr, 1, DType::f32, 0); });
  run(8);
}

TEST(BadCalls, AnUnknownAlgorithmIsAUsageErrorThatListsTheNames) {
  float value = 1;
  const auto run = [&] {
    all_reduce(world(), &value, &value, 1, DType::f32, ReduceOp::sum, {"fastest"});
  };
  EXPECT_THROW(run(), UsageError);
  EXPECT_NE(error_of(run).find("rabenseifner"), std::string::npos);
  EXPECT_THROW(barrier(world(), {"ring"}), UsageError);
}

TEST(BadCalls, NodeSharedRefusesPrivateBuffersOnAllRanks) {
  if (world().size() == 1 || !world().on_one_node() || !node_memory::available()) return;
  Buffer<float> data(5000, world().rank() == 0 ? Memory::local : Memory::node_shared);
  error_of([&] { all_reduce(world(), data.span(), ReduceOp::sum, {"node_shared"}); });
  all_reduce(world(), data.span(), ReduceOp::sum);
}

TEST(BadCalls, DifferentCallsOnTheRanksOfANodeAreNamedOnAll) {
  if (world().size() == 1 || !world().on_one_node() || !node_memory::available()) return;
  const bool odd_one = world().rank() == world().size() - 1;
  const Communicator group = world().duplicate("disputed");
  std::vector<float> data(5000);
  const std::string length = error_of([&] {
    all_reduce(group, data.data(), data.data(), odd_one ? 4000 : 5000, DType::f32, ReduceOp::sum);
  });
  EXPECT_NE(length.find("4000"), std::string::npos) << length;
  EXPECT_NE(length.find("5000"), std::string::npos) << length;
  error_of([&] {
    all_reduce(group, data.data(), data.data(), 10, DType::f32,
               odd_one ? ReduceOp::max : ReduceOp::sum);
  });
  error_of([&] {
    all_reduce(group, data.data(), data.data(), 10, odd_one ? DType::i32 : DType::f32,
               ReduceOp::sum);
  });
  error_of([&] { broadcast(group, data.data(), 10, DType::f32, odd_one ? 1 : 0); });
  if (world().size() == 2) {
    const std::vector<Index> here = odd_one ? std::vector<Index>{900, 10} : std::vector<Index>{10, 900};
    error_of([&] {
      std::vector<float> out(910);
      all_gather(group, data.data(), out.data(), here, DType::f32);
    });
  }
  // An all-to-all where one rank expects more than it is sent.
  std::vector<Index> sends(static_cast<std::size_t>(world().size()), 2);
  std::vector<Index> receives = sends;
  if (odd_one) receives[0] = 3;
  std::vector<float> out(1000);
  error_of([&] { all_to_all(group, data.data(), sends, out.data(), receives, DType::f32); });
  // The ranks agreed that they did not agree, and go on together.
  all_reduce(group, std::span(data), ReduceOp::sum);
}

TEST(BadCalls, AnAllToAllThatDoesNotFitBetweenNodesIsAnError) {
  const Rank last = world().size() - 1;
  const bool two_and_one = world().size() > 2 && world().node_of(0) == world().node_of(1) &&
                           world().node_of(1) != world().node_of(last);
  if (!two_and_one || !node_memory::available()) GTEST_SKIP() << "needs a node of two, and another";
  const Rank me = world().rank();
  const bool takes_part = me < 2 || me == last;
  const Communicator group = world().split(takes_part ? 0 : 1, me, "disputed");
  if (!takes_part) return;
  const std::vector<Index> sends(3, 2);
  std::vector<Index> receives = sends;
  const std::vector<float> in(100);
  std::vector<float> out(100);
  const auto exchange = [&] {
    all_to_all(group, in.data(), sends, out.data(), receives, DType::f32, {"hierarchical"});
  };
  if (me < 2) return exchange();  // they get what they expect
  receives[1] = 3;
  const std::string text = error_of(exchange);
  EXPECT_NE(text.find("sends 2 elements"), std::string::npos) << text;
  EXPECT_NE(text.find("expects 3"), std::string::npos) << text;
  // What is on its way does not fit what comes next: nothing does.
  error_of([&] { all_reduce(group, std::span(out), ReduceOp::sum); });
}

TEST(BadCalls, AReceiveOfAnotherLengthIsAnError) {
  if (world().size() < 2) return;
  const Communicator group = world().duplicate("lengths");
  std::vector<float> data(100);
  for (const Index sent : {10, 50}) {
    if (group.rank() == 0) send(group, data.data(), sent, DType::f32, 1);
    if (group.rank() == 1) error_of([&] { receive(group, data.data(), 20, DType::f32, 0); });
  }
}

TEST(Registry, ThereIsATwoLevelAlgorithmWhereverNodesHaveSeveralRanks) {
  const bool several = world().node_count() > 1 && world().node_count() < world().size();
  for (const Operation operation : {Operation::all_reduce, Operation::all_gather,
                                    Operation::reduce_scatter, Operation::broadcast,
                                    Operation::all_to_all, Operation::barrier}) {
    bool found = false;
    for (const std::string& name : algorithm_names(operation)) {
      found = found || name.starts_with("hierarchical");
    }
    EXPECT_EQ(found, several && node_memory::available()) << name_of(operation);
  }
}

// So many nodes with a rank each.
Network gigabit(int nodes) {
  Network network;
  network.alpha = 30e-6;
  network.beta = 1 / 117e6;
  network.gamma = 1 / 10e9;
  network.overhead = 6e-6;
  network.node_alpha = 1e-6;
  network.node_beta = 1 / 5e9;
  network.nodes = nodes;
  return network;
}

TEST(Registry, EveryAlgorithmSaysWhatItIsAndCostsMoreForMore) {
  for (const Operation operation : all_operations) {
    for (const Algorithm* algorithm : algorithms(operation)) {
      EXPECT_EQ(&find_algorithm(operation, algorithm->name()), algorithm);
      EXPECT_EQ(algorithm->operation(), operation);
      EXPECT_FALSE(algorithm->description().empty());
      EXPECT_FALSE(algorithm->source().empty());
      const Network network = gigabit(5);
      const auto cost = [&](Bytes bytes) { return algorithm->cost(bytes, 5, network).count(); };
      EXPECT_GT(cost(8), 0) << algorithm->name();
      EXPECT_GE(cost(1 << 20), cost(8)) << algorithm->name();
    }
  }
}

TEST(Registry, CostsOrderTheAllReducesAsThePapersDo) {
  const Network network = gigabit(8);
  const auto cost = [&](const char* name, Bytes bytes) {
    return find_algorithm(Operation::all_reduce, name).cost(bytes, 8, network).count();
  };
  EXPECT_LT(cost("recursive_doubling", 8), cost("rabenseifner", 8));
  EXPECT_LT(cost("rabenseifner", 8), cost("ring", 8));
  EXPECT_LT(cost("ring", 1 << 26), cost("recursive_doubling", 1 << 26));
  // A split less than Rabenseifner's, and as many bytes: never dearer, but for the adding.
  const double adding = network.gamma * (1 << 13);
  for (Bytes bytes = 8; bytes <= 1 << 13; bytes *= 2) {
    EXPECT_LT(cost("hybrid", bytes), cost("rabenseifner", bytes) + adding);
  }
  EXPECT_LT(cost("hybrid", 1 << 13), cost("recursive_doubling", 1 << 13));
}

}  // namespace
}  // namespace shoal::testing
