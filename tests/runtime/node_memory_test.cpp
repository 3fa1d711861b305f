// Law: what one rank writes into node-shared memory every rank of the node reads, at the address
// that its location translates to; released memory comes back zeroed.
#include <shoal/runtime/node_memory.hpp>

#include <gtest/gtest.h>
#include <mpi.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <span>
#include <thread>
#include <vector>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

namespace shoal::testing {
namespace {

class NodeMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!node_memory::available()) GTEST_SKIP() << node_memory::why_not();
  }
};

TEST_F(NodeMemory, EveryRankReadsWhatEveryRankWrote) {
  if (node_memory::node_size() == 1) GTEST_SKIP() << "the rank has its node to itself";
  constexpr Index count = 100'003;
  const Buffer<std::int64_t> mine(count, Memory::node_shared);
  std::iota(mine.begin(), mine.end(), std::int64_t{1000} * world().rank());
  const auto location = node_memory::locate(mine.data());
  ASSERT_TRUE(location.has_value());
  EXPECT_EQ(location->owner, node_memory::node_rank());
  std::vector<node_memory::Location> all(static_cast<std::size_t>(world().size()));
  MPI_Allgather(&*location, sizeof *location, MPI_BYTE, all.data(), sizeof *location, MPI_BYTE,
                MPI_COMM_WORLD);
  for (Rank rank = 0; rank < world().size(); ++rank) {
    const auto* theirs = static_cast<const std::int64_t*>(
        node_memory::address(all[static_cast<std::size_t>(rank)]));
    EXPECT_EQ(theirs[0], 1000 * rank);
    EXPECT_EQ(theirs[count - 1], 1000 * rank + count - 1);
  }
  MPI_Barrier(MPI_COMM_WORLD);  // nobody frees what another still reads
}

TEST_F(NodeMemory, WhoHasTheNodeToItselfHasItsBuffersInPrivate) {
  const Buffer<float> buffer(1000, Memory::node_shared);
  const bool alone = node_memory::node_size() == 1;
  EXPECT_EQ(buffer.memory(), alone ? Memory::local : Memory::node_shared);
  EXPECT_EQ(node_memory::locate(buffer.data()).has_value(), !alone);
}

// Whole pages of private memory.
class Pages {
 public:
  explicit Pages(Bytes bytes)
      : bytes_(bytes), memory_(static_cast<std::byte*>(std::aligned_alloc(4096, bytes))) {}
  ~Pages() {
    if (node_memory::take_back(all(), node_memory::Contents::lost)) std::free(memory_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  std::span<std::byte> all() const { return {memory_, bytes_}; }
  std::span<std::int64_t> numbers() const {
    return {reinterpret_cast<std::int64_t*>(memory_), bytes_ / sizeof(std::int64_t)};
  }

 private:
  Bytes bytes_;
  std::byte* memory_;
};

TEST_F(NodeMemory, LentPagesKeepWhatIsInThemAndEveryRankSeesThem) {
  if (node_memory::node_size() == 1) GTEST_SKIP() << "the rank has its node to itself";
  const Pages pages(Bytes{1} << 20);
  const auto numbers = pages.numbers();
  std::iota(numbers.begin(), numbers.end(), std::int64_t{1'000'000} * world().rank());
  EXPECT_FALSE(node_memory::locate(numbers.data()).has_value());
  ASSERT_TRUE(node_memory::lend(pages.all(), node_memory::InChild::copy));
  const auto location = node_memory::locate(&numbers[777]);
  ASSERT_TRUE(location.has_value());
  EXPECT_EQ(location->owner, node_memory::node_rank());
  EXPECT_FALSE(node_memory::locate(pages.all().data() - 1).has_value());
  EXPECT_FALSE(node_memory::locate(pages.all().data() + pages.all().size()).has_value());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    ASSERT_EQ(numbers[i], 1'000'000 * world().rank() + static_cast<std::int64_t>(i));
  }
  std::vector<node_memory::Location> all(static_cast<std::size_t>(world().size()));
  MPI_Allgather(&*location, sizeof *location, MPI_BYTE, all.data(), sizeof *location, MPI_BYTE,
                MPI_COMM_WORLD);
  const Rank next = (world().rank() + 1) % world().size();
  auto* const theirs =
      static_cast<std::int64_t*>(node_memory::address(all[static_cast<std::size_t>(next)]));
  EXPECT_EQ(*theirs, 1'000'000 * next + 777);
  MPI_Barrier(MPI_COMM_WORLD);
  *theirs = -next;  // what another writes there is the owner's
  MPI_Barrier(MPI_COMM_WORLD);
  EXPECT_EQ(numbers[777], -world().rank());
}

TEST_F(NodeMemory, MemoryThatWasTakenBackIsPrivateAgain) {
  for (int turn = 0; turn < 300; ++turn) {
    const Pages pages(Bytes{64} << 10);
    std::memset(pages.all().data(), turn % 100 + 1, pages.all().size());
    if (node_memory::lend(pages.all(), node_memory::InChild::copy)) {
      EXPECT_TRUE(node_memory::take_back(pages.all(), node_memory::Contents::lost));
      EXPECT_FALSE(node_memory::locate(pages.all().data()).has_value());
      EXPECT_EQ(pages.numbers().front(), 0) << "fresh pages";
    }
    std::memset(pages.all().data(), 1, pages.all().size());
  }
  const Pages never(4096);
  EXPECT_TRUE(node_memory::take_back(never.all(), node_memory::Contents::kept));
}

class NodeMemoryInChild : public ::testing::TestWithParam<node_memory::InChild> {};

TEST_P(NodeMemoryInChild, WhatAForkedChildWritesIntoLentPagesIsItsOwn) {
  const Pages lent(Bytes{64} << 10);
  const auto numbers = lent.numbers();
  numbers[0] = 11;
  numbers[5000] = 12;
  node_memory::lend(lent.all(), GetParam());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool good = numbers[0] == 11 && numbers[5000] == 12 &&
                      !node_memory::locate(numbers.data()).has_value();
    numbers[0] = 13;
    _exit(good && node_memory::take_back(lent.all(), node_memory::Contents::kept) && numbers[0] == 13 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(numbers[0], 11);
  EXPECT_EQ(numbers[5000], 12);
}

INSTANTIATE_TEST_SUITE_P(Either, NodeMemoryInChild,
                         ::testing::Values(node_memory::InChild::copy, node_memory::InChild::follow));

TEST_F(NodeMemory, RangesWithinAnotherMayBeLentBefore) {
  const Pages pages(Bytes{1} << 20);
  const auto numbers = pages.numbers();
  std::iota(numbers.begin(), numbers.end(), std::int64_t{5});
  const auto part = [&](Bytes begin, Bytes bytes) { return pages.all().subspan(begin, bytes); };
  constexpr Bytes kib = 1 << 10;
  constexpr auto how = node_memory::InChild::copy;
  if (!node_memory::lend(part(64 * kib, 64 * kib), how)) GTEST_SKIP() << "no memory to lend";
  EXPECT_TRUE(node_memory::lend(part(256 * kib, 64 * kib), how));
  EXPECT_FALSE(node_memory::lend(part(96 * kib, 64 * kib), how)) << "reaches over an end";
  EXPECT_TRUE(node_memory::locate(part(64 * kib, 1).data(), 64 * kib).has_value());
  EXPECT_FALSE(node_memory::locate(part(64 * kib, 1).data(), 64 * kib + 1).has_value());
  EXPECT_TRUE(node_memory::lend(part(0, 512 * kib), how));
  EXPECT_TRUE(node_memory::locate(part(4 * kib, 1).data(), 508 * kib).has_value());
  EXPECT_TRUE(node_memory::take_back(pages.all(), node_memory::Contents::kept));
  EXPECT_FALSE(node_memory::locate(part(64 * kib, 1).data()).has_value());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    ASSERT_EQ(numbers[i], 5 + static_cast<std::int64_t>(i));
  }
}

TEST_F(NodeMemory, LendingGoesOnBesideLookingAndForking) {
  std::atomic<bool> stop{false};
  const Pages steady(Bytes{64} << 10);
  const bool lent = node_memory::lend(steady.all(), node_memory::InChild::follow);
  std::thread looks([&] {
    while (!stop) EXPECT_EQ(node_memory::locate(steady.all().data()).has_value(), lent);
  });
  for (int turn = 0; turn < 50; ++turn) {
    const Pages other(Bytes{128} << 10);
    node_memory::lend(other.all(), turn % 2 ? node_memory::InChild::copy : node_memory::InChild::follow);
    const pid_t child = fork();
    if (child == 0) _exit(0);
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  stop = true;
  looks.join();
}

TEST_F(NodeMemory, PrivateMemoryIsNotLocated) {
  const int on_stack = 0;
  const Buffer<float> local(1000);
  EXPECT_FALSE(node_memory::locate(&on_stack).has_value());
  EXPECT_FALSE(node_memory::locate(local.data()).has_value());
}

TEST_F(NodeMemory, BlocksAreZeroAlignedAndApart) {
  std::mt19937_64 random = generator(static_cast<std::uint64_t>(world().rank()));
  std::uniform_int_distribution<Bytes> sizes(0, 300'000);
  struct Piece {
    unsigned char* data;
    Bytes bytes;
    unsigned char mark;
  };
  std::vector<Piece> pieces;
  for (int round = 0; round < 400; ++round) {
    if (pieces.size() > 20) {
      const std::size_t victim = random() % pieces.size();
      for (Bytes i = 0; i < pieces[victim].bytes; ++i) {
        ASSERT_EQ(pieces[victim].data[i], pieces[victim].mark) << "blocks overlap";
      }
      node_memory::release(pieces[victim].data);
      pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(victim));
    }
    const Bytes bytes = sizes(random);
    auto* data = static_cast<unsigned char*>(node_memory::allocate(bytes));
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(data) % 64, 0u);
    for (Bytes i = 0; i < bytes; ++i) ASSERT_EQ(data[i], 0) << "not zero at " << i;
    const auto mark = static_cast<unsigned char>(1 + round % 255);
    std::memset(data, mark, bytes);
    pieces.push_back({data, bytes, mark});
  }
  for (const Piece& piece : pieces) node_memory::release(piece.data);
}

TEST_F(NodeMemory, TooMuchIsAnError) {
  EXPECT_THROW(node_memory::allocate(Bytes{1} << 50), Error);
}

TEST(Buffer, IsZeroAlignedAndMovable) {
  for (const Memory memory : {Memory::local, Memory::node_shared}) {
    for (const Index count : {Index{0}, Index{1}, Index{1000}, Index{1} << 20}) {
      Buffer<float> buffer(count, memory);
      EXPECT_EQ(buffer.size(), count);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u);
      for (const float value : buffer) ASSERT_EQ(value, 0.0f);
      const float* before = buffer.data();
      const Buffer<float> moved = std::move(buffer);
      EXPECT_EQ(moved.data(), before);
    }
  }
}

TEST(Buffer, TooMuchIsAnError) { EXPECT_THROW(Buffer<float>(Index{1} << 55), Error); }

}  // namespace
}  // namespace shoal::testing
