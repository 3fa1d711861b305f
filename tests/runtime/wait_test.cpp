// Law: no wait outlasts its deadline.
#include <shoal/runtime/wait.hpp>

#include <gtest/gtest.h>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <new>
#include <thread>

#include <shoal/runtime/error.hpp>

namespace shoal::testing {
namespace {

// A suspended job goes on where it was, and does not take the others for lost.
TEST(Waiter, TimeInWhichTheProcessWasStoppedDoesNotCount) {
  using namespace std::chrono_literals;
  void* const shared = mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto& answered = *new (shared) std::atomic<int>(0);
  const auto longer = std::chrono::duration_cast<std::chrono::milliseconds>(wait_timeout()) + 1s;
  const pid_t waiting = getpid();
  const pid_t child = fork();
  if (child == 0) {
    std::this_thread::sleep_for(100ms);
    kill(waiting, SIGSTOP);
    std::this_thread::sleep_for(longer);
    kill(waiting, SIGCONT);
    std::this_thread::sleep_for(100ms);
    answered = 1;
    _exit(0);
  }
  ASSERT_GT(child, 0);
  Waiter waiter;
  EXPECT_NO_THROW({
    while (answered == 0) waiter.pause([] { return Waiter::Late{"test over world", "a child"}; });
  });
  waitpid(child, nullptr, 0);
  munmap(shared, sizeof(std::atomic<int>));
}

TEST(Waiter, GivesUpAtTheDeadlineAndSaysWhomItWaitedFor) {
  Waiter waiter;
  try {
    for (;;) waiter.pause([] { return Waiter::Late{"test over world", "rank 7 on nowhere"}; });
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("rank 7 on nowhere"), std::string::npos);
    EXPECT_NE(error.message().find("SHOAL_TIMEOUT"), std::string::npos);
  }
}

}  // namespace
}  // namespace shoal::testing
