// The test support at work. The disabled tests fail on purpose; CTest runs them one by one and looks
// at what they print.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/wait.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

namespace shoal::testing {
namespace {

// The largest value among the ranks, with a bounded wait.
std::uint64_t largest(std::uint64_t value) {
  std::uint64_t result = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallreduce(&value, &result, 1, MPI_UINT64_T, MPI_MAX, mpi_handle(world()), &request),
            "largest");
  Waiter waiter;
  for (int done = 0;;) {
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "largest");
    if (done) return result;
    waiter.pause([] { return Waiter::Late{"largest", "the other ranks"}; });
  }
}

TEST(Support, SeedIsTheSameOnAllRanks) { EXPECT_EQ(largest(seed()), seed()); }

TEST(Support, GeneratorIsAFunctionOfSeedTestAndStream) {
  EXPECT_EQ(generator(3)(), generator(3)());
  EXPECT_NE(generator(3)(), generator(4)());
  EXPECT_EQ(largest(generator()()), generator()());
}

TEST(Selftest, DISABLED_FailsOnRank1) { EXPECT_NE(world().rank(), 1); }
TEST(Selftest, DISABLED_FailsOnAllRanks) { EXPECT_EQ(world().size(), -1); }
TEST(Selftest, DISABLED_LeavesTheOthersInACollective) {
  ASSERT_NE(world().rank(), 1);
  largest(0);
}
TEST(Selftest, DISABLED_HangsOnRank1) {
  while (world().rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(1));
}
TEST(Selftest, DISABLED_HangsOnAllRanks) {
  for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}
TEST(Selftest, DISABLED_DiesOnRank1) {
  if (world().rank() == 1) std::raise(SIGKILL);
  largest(0);
}

}  // namespace
}  // namespace shoal::testing
