// Non-blocking collectives: the bits of the blocking ones, whatever the order in which they are waited
// for, and whatever runs beside them.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <shoal/collectives/collectives.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/settings.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "elements.hpp"

namespace shoal::testing {
namespace {

std::vector<Index> uneven(int ranks, Index step) {
  std::vector<Index> counts;
  for (Rank rank = 0; rank < ranks; ++rank) counts.push_back((rank * step) % 7);
  return counts;
}

Index sum(const std::vector<Index>& counts) {
  return std::accumulate(counts.begin(), counts.end(), Index{0});
}

TEST(Nonblocking, AllReducesGiveTheBitsOfTheBlockingOnesInAnyOrderOfWaits) {
  const auto me = static_cast<std::size_t>(world().rank());
  std::mt19937_64 own(seed() + me);  // every rank waits in an order of its own
  std::vector<Elements> results, expected;
  std::vector<Work> works;
  for (const Index count : lengths) {
    for (const Where where : {Where::local, Where::shared, Where::mixed}) {
      const std::vector<Elements> inputs = inputs_of_all(world().size(), count, DType::f32);
      const Memory memory = memory_of(where, world().rank());
      Elements wanted(count, DType::f32, memory);
      wanted.copy_from(inputs[me]);
      all_reduce(world(), wanted.data(), wanted.data(), count, DType::f32, ReduceOp::sum);
      expected.push_back(std::move(wanted));
      Elements data(count, DType::f32, memory);
      data.copy_from(inputs[me]);
      results.push_back(std::move(data));
    }
  }
  for (const Elements& data : results) {
    works.push_back(start_all_reduce(world(), data.data(), data.data(), data.count(), DType::f32,
                                     ReduceOp::sum));
  }
  std::vector<std::size_t> order(works.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), own);
  for (const std::size_t i : order) {
    if (own() % 2 == 0) {
      works[i].wait();
    } else {
      while (!works[i].test()) {
      }
    }
    EXPECT_TRUE(same(results[i].data(), expected[i].data(), results[i].count(), DType::f32)) << i;
    EXPECT_TRUE(results[i].margin_intact());
    EXPECT_TRUE(works[i].test()) << "done is done";
  }
}

TEST(Nonblocking, EveryOperationDoesWhatItsBlockingFormDoes) {
  const int ranks = world().size();
  const auto me = static_cast<std::size_t>(world().rank());
  for (const Index step : {Index{1}, Index{3}, Index{500}}) {
    const std::vector<Index> counts = uneven(ranks, step);
    const Index total = sum(counts);
    const std::vector<Elements> inputs = inputs_of_all(ranks, total, DType::i32);
    const Elements& in = inputs[me];
    // What rank r sends to rank s: as much as s sends to r.
    std::vector<Index> traffic;
    for (Rank rank = 0; rank < ranks; ++rank) {
      traffic.push_back((world().rank() + rank) * step % 5);
    }
    const std::vector<Elements> letters = inputs_of_all(ranks, sum(traffic), DType::f64);

    Elements scattered(counts[me], DType::i32), gathered(total, DType::i32);
    Elements root_data(total, DType::i32), exchanged(sum(traffic), DType::f64);
    Elements scattered2(counts[me], DType::i32), gathered2(total, DType::i32);
    Elements root_data2(total, DType::i32), exchanged2(sum(traffic), DType::f64);
    for (Elements* each : {&scattered, &gathered, &exchanged, &scattered2, &gathered2, &exchanged2}) {
      each->poison();
    }
    root_data.copy_from(in);
    root_data2.copy_from(in);
    const Rank root = ranks / 2;
    Elements mine(counts[me], DType::i32);
    auto random = generator();
    mine.fill(random);

    std::vector<Work> works;
    {
      // The counts may go as soon as the call returns.
      std::vector<Index> a = counts, b = counts, c = traffic, d = traffic;
      works.push_back(start_reduce_scatter(world(), in.data(), scattered.data(), a, DType::i32,
                                           ReduceOp::sum));
      works.push_back(start_all_gather(world(), mine.data(), gathered.data(), b, DType::i32));
      works.push_back(start_barrier(world()));
      works.push_back(start_broadcast(world(), root_data.data(), total, DType::i32, root));
      works.push_back(start_all_to_all(world(), letters[me].data(), c, exchanged.data(), d,
                                       DType::f64));
      for (auto* counts_given : {&a, &b, &c, &d}) {
        std::fill(counts_given->begin(), counts_given->end(), Index{-1});
      }
    }
    reduce_scatter(world(), in.data(), scattered2.data(), counts, DType::i32, ReduceOp::sum);
    all_gather(world(), mine.data(), gathered2.data(), counts, DType::i32);
    broadcast(world(), root_data2.data(), total, DType::i32, root);
    all_to_all(world(), letters[me].data(), traffic, exchanged2.data(), traffic, DType::f64);
    works.clear();  // waits
    EXPECT_TRUE(same(scattered.data(), scattered2.data(), counts[me], DType::i32));
    EXPECT_TRUE(same(gathered.data(), gathered2.data(), total, DType::i32));
    EXPECT_TRUE(same(root_data.data(), root_data2.data(), total, DType::i32));
    EXPECT_TRUE(same(exchanged.data(), exchanged2.data(), sum(traffic), DType::f64));
  }
}

TEST(Nonblocking, CommunicatorsDoNotWaitForEachOther) {
  const Communicator a = world().duplicate("a");
  const Communicator b = world().duplicate("b");
  std::vector<double> x(1000, world().rank() + 1.0), y = x, z = x;
  const double all = world().size() * (world().size() + 1) / 2.0;
  // The first use of each is collective.
  start_barrier(a).wait();
  start_barrier(b).wait();
  const bool threads = settings().background;
  const bool reversed = threads && world().rank() % 2 == 1;
  const Communicator& first = reversed ? b : a;
  const Communicator& second = reversed ? a : b;
  std::vector<double>& of_first = reversed ? y : x;
  std::vector<double>& of_second = reversed ? x : y;
  Work one = start_all_reduce(first, std::span(of_first), ReduceOp::sum);
  Work two = start_all_reduce(second, std::span(of_second), ReduceOp::sum);
  all_reduce(world(), std::span(z), ReduceOp::sum);
  one.wait();
  two.wait();
  for (const auto* data : {&x, &y, &z}) {
    EXPECT_EQ(std::count(data->begin(), data->end(), all), 1000);
  }
}

TEST(Nonblocking, WhatMakesNoSenseIsRefusedAtOnce) {
  float data[2] = {1, 2};
  EXPECT_THROW(start_all_reduce(world(), data, data, -1, DType::f32, ReduceOp::sum), Error);
  EXPECT_THROW(start_all_reduce(world(), data, data, 2, DType::f32, ReduceOp::sum, {"no such"}),
               UsageError);
  EXPECT_THROW(start_broadcast(world(), data, 2, DType::f32, world().size()), Error);
  start_all_reduce(world(), std::span<float>(data), ReduceOp::sum).wait();
  EXPECT_EQ(data[0], static_cast<float>(world().size()));
}

TEST(Nonblocking, AFailureIsThrownByItsWaitAndFailsTheRest) {
  if (world().size() == 1) return;  // needs no algorithm
  const Communicator comm = world().duplicate("fails");
  std::vector<float> data(5000, 1.0f), more(10, 1.0f), after(10, 1.0f);
  start_all_reduce(comm, std::span(more), ReduceOp::sum).wait();
  Work bad = start_all_reduce(comm, std::span(data), ReduceOp::sum, {"node_shared"});
  Work next = start_all_reduce(comm, std::span(after), ReduceOp::sum);
  EXPECT_THROW(bad.wait(), Error);
  try {
    next.wait();
    ADD_FAILURE() << "one after a failure went well";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("earlier"), std::string::npos) << error.message();
  }
  EXPECT_EQ(after[0], 1.0f) << "was not touched";
}

TEST(Nonblocking, AnExceptionTakesBackWhatOthersNeverCameTo) {
  const Communicator comm = world().duplicate("unwinds");
  std::vector<float> data(1000, 1.0f);
  start_all_reduce(comm, std::span(data), ReduceOp::sum).wait();
  // Only rank 0 starts any, so that they can never be done.
  if (world().rank() == 0 && world().size() > 1) {
    EXPECT_THROW(
        {
          Work one = start_all_reduce(comm, std::span(data), ReduceOp::sum);
          Work two = start_all_reduce(comm, std::span(data), ReduceOp::sum);
          throw std::runtime_error("enough");
        },
        std::runtime_error);
    EXPECT_THROW(start_all_reduce(comm, std::span(data), ReduceOp::sum).wait(), Error);
  }
  barrier(world());
}

TEST(Nonblocking, APlanIsDoneAgainAndAgain) {
  std::vector<std::int64_t> in(777), out(777);
  AllReducePlan plan(world(), in.data(), out.data(), 777, DType::i64, ReduceOp::max);
  for (int round = 0; round < 20; ++round) {
    for (std::size_t i = 0; i < in.size(); ++i) {
      in[i] = static_cast<std::int64_t>(i) * round + world().rank();
      out[i] = -1;
    }
    plan.start().wait();
    for (std::size_t i = 0; i < in.size(); ++i) {
      ASSERT_EQ(out[i], static_cast<std::int64_t>(i) * round + world().size() - 1);
    }
  }
}

TEST(Nonblocking, APlanUnderWayIsNotStartedAgain) {
  if (world().size() == 1) return;  // is done at once
  std::vector<float> data(10, 1.0f);
  AllReducePlan plan(world(), data.data(), data.data(), 10, DType::f32, ReduceOp::sum);
  plan.start().wait();
  barrier(world());
  if (world().rank() == 0) {
    Work work = plan.start();  // the others start theirs after the barrier below
    EXPECT_THROW(plan.start(), Error);
    barrier(world());
    work.wait();
  } else {
    barrier(world());
    plan.start().wait();
  }
}

}  // namespace
}  // namespace shoal::testing
