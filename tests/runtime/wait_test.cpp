// Law: no wait outlasts its deadline.
#include <shoal/runtime/wait.hpp>

#include <gtest/gtest.h>

#include <shoal/runtime/error.hpp>

namespace shoal::testing {
namespace {

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
