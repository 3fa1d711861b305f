// main() of the tests that run as one process and make a Runtime themselves, if at all.
#include <gtest/gtest.h>

#include <cstdio>

#include <support/random.hpp>

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const int status = RUN_ALL_TESTS();
  if (status != 0) {
    std::printf("seed: run again with SHOAL_TEST_SEED=%llu\n",
                static_cast<unsigned long long>(shoal::testing::seed()));
  }
  return status;
}
