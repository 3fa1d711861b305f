// Messages that go on while the program computes: what was sent arrives, in the order in which it
// was sent, whatever the order in which two ranks start and wait.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <shoal/collectives/collectives.hpp>
#include <shoal/runtime/error.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

namespace shoal::testing {
namespace {

constexpr Index message_lengths[] = {0, 1, 1000, 300'000};

// What `from` sends to `to` as message number `number`, of the same on every rank.
std::vector<float> letter(Rank from, Rank to, int number, Index length) {
  auto random = generator(static_cast<std::uint64_t>((from * 64 + to) * 64 + number));
  return uniform(random, length);
}

TEST(Messages, ArriveWhateverTheOrderOfStartsAndWaits) {
  const Communicator& comm = world();
  const Rank me = comm.rank();
  struct One {
    bool sends;
    Rank peer;
    int number;
    std::vector<float> data, expected;
    Work work;
  };
  std::vector<One> all;
  for (Rank peer = 0; peer < comm.size(); ++peer) {  // to itself, too
    int number = 0;
    for (const Index length : message_lengths) {
      const auto room = static_cast<std::size_t>(length);
      all.push_back({true, peer, number, letter(me, peer, number, length), {}, {}});
      all.push_back({false,
                     peer,
                     number,
                     std::vector<float>(room, -7.0f),
                     letter(peer, me, number, length),
                     {}});
      ++number;
    }
  }
  // Every rank in an order of its own; tags keep the messages apart.
  std::mt19937_64 own(seed() + static_cast<std::uint64_t>(me));
  std::shuffle(all.begin(), all.end(), own);
  for (One& one : all) {
    const auto count = static_cast<Index>(one.data.size());
    one.work = one.sends
                   ? start_send(comm, one.data.data(), count, DType::f32, one.peer, one.number)
                   : start_receive(comm, one.data.data(), count, DType::f32, one.peer, one.number);
  }
  std::shuffle(all.begin(), all.end(), own);
  for (One& one : all) {
    if (own() % 2 == 0) {
      one.work.wait();
    } else {
      while (!one.work.test()) std::this_thread::yield();
    }
    if (!one.sends) {
      EXPECT_EQ(one.data, one.expected) << "message " << one.number << " from " << one.peer;
    }
    EXPECT_TRUE(one.work.test()) << "done is done";
  }
}

TEST(Messages, OfOneTagArriveInTheirOrderAlsoBesideBlockingOnes) {
  const Communicator& comm = world();
  const Rank next = (comm.rank() + 1) % comm.size();
  const Rank previous = (comm.rank() + comm.size() - 1) % comm.size();
  std::vector<std::vector<float>> out, in;
  std::vector<Work> works;
  constexpr int messages = 6;
  for (int i = 0; i < messages; ++i) {
    out.push_back(letter(comm.rank(), next, i, 5000 + i));
    in.emplace_back(static_cast<std::size_t>(5000 + i), 0.0f);
  }
  for (std::size_t i = 0; i < messages; ++i) {
    const auto count = static_cast<Index>(out[i].size());
    if (i == 3) {  // with a partner for each: nobody waits for itself
      send_receive(comm, out[i].data(), count, next, in[i].data(), count, previous, DType::f32);
      continue;
    }
    works.push_back(start_receive(comm, in[i].data(), count, DType::f32, previous));
    works.push_back(start_send(comm, out[i].data(), count, DType::f32, next));
  }
  works.clear();  // waits
  for (int i = 0; i < messages; ++i) {
    EXPECT_EQ(in[static_cast<std::size_t>(i)], letter(previous, comm.rank(), i, 5000 + i)) << i;
  }
}

// Both send first, far more than any buffer between them holds.
TEST(Messages, TwoThatSendFirstDoNotBlockEachOther) {
  const Communicator& comm = world();
  const Rank other = comm.rank() ^ 1;
  if (other >= comm.size()) return;
  constexpr Index count = 3'000'000;
  const std::vector<float> out(count, static_cast<float>(comm.rank() + 1));
  std::vector<float> in(count, 0.0f);
  Work sent = start_send(comm, out.data(), count, DType::f32, other, 9);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  Work received = start_receive(comm, in.data(), count, DType::f32, other, 9);
  sent.wait();
  received.wait();
  EXPECT_EQ(std::count(in.begin(), in.end(), static_cast<float>(other + 1)), count);
  EXPECT_GT(received.took().count(), 0);
}

TEST(Messages, OfAnotherLengthAndArgumentsWithoutSenseAreErrors) {
  const Communicator& comm = world();
  const Rank next = (comm.rank() + 1) % comm.size();
  const Rank previous = (comm.rank() + comm.size() - 1) % comm.size();
  std::vector<float> data(10, 1.0f), in(10, 0.0f);
  for (const Index expected : {Index{4}, Index{8}}) {
    if (comm.size() == 1) break;  // MPI refuses it when it is sent
    Work received = start_receive(comm, in.data(), expected, DType::f32, previous, 5);
    Work sent = start_send(comm, data.data(), 6, DType::f32, next, 5);
    sent.wait();
    EXPECT_THROW(received.wait(), Error) << expected;
  }
  EXPECT_THROW(start_send(comm, data.data(), 1, DType::f32, comm.size()), Error);
  EXPECT_THROW(start_send(comm, data.data(), 1, DType::f32, next, most_tag + 1), Error);
  EXPECT_THROW(start_receive(comm, data.data(), -1, DType::f32, next), Error);
  EXPECT_THROW(start_receive(comm, nullptr, 1, DType::f32, next), Error);
}

// An exception that unwinds does not wait for a message that never comes.
TEST(Messages, AreTakenBackWhileAnExceptionUnwinds) {
  const Communicator own = world().duplicate("own");
  std::vector<float> in(10, 0.0f);
  EXPECT_THROW(
      {
        const Work never = start_receive(own, in.data(), 10, DType::f32, own.rank(), 3);
        throw std::runtime_error("something else");
      },
      std::runtime_error);
}

}  // namespace
}  // namespace shoal::testing
