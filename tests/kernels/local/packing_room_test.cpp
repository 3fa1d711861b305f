// Law: from the second product on, those of fp32 find the memory that they pack into: the heap of
// this process, which nothing has warmed yet, does not have to fetch it call by call.
#include <shoal/kernels/local/gemm.hpp>

#include <sys/resource.h>

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <shoal/runtime/heap.hpp>

namespace shoal::kernels {
namespace {

long page_faults() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

TEST(PackingRoom, IsFoundWarmFromTheSecondProductOn) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the heap is the sanitizer's";
#endif
  if (!keep_freed_pages()) GTEST_SKIP() << "the environment has settings for the heap";
  if (gemm_backend(Precision::fp32).find("oneDNN") == std::string::npos) {
    GTEST_SKIP() << "packs elsewhere";
  }
  constexpr Index m = 1024, n = 2048, k = 1024;
  const std::vector<float> a(m * k, 1.0f), b(k * n, 2.0f);
  std::vector<float> c(m * n, 0.0f);
  const auto product = [&] {
    gemm(Trans::no, Trans::no, m, n, k, 1.0f, a.data(), k, b.data(), n, 0.0f, c.data(), n);
  };
  product();
  const long before = page_faults();
  for (int call = 0; call < 4; ++call) product();
  EXPECT_EQ(c[m * n - 1], 2.0f * k);
  // A block is 3.6 MiB: 915 pages in one thread, where it is fetched anew; in each of the threads
  // some of it.
  EXPECT_LT(page_faults() - before, 400);
}

}  // namespace
}  // namespace shoal::kernels
