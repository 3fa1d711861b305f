// Law: signal handlers do not disturb products. oneDNN's kernels move the stack into the heap.
#include <shoal/kernels/local/gemm.hpp>

#include <sys/time.h>

#include <csignal>
#include <cstdlib>
#include <vector>

#include "reference.hpp"

namespace shoal::kernels {
namespace {

volatile std::sig_atomic_t handled = 0;

void count(int) { handled = handled + 1; }

// A signal every 100 microseconds while it exists.
class Alarms {
 public:
  Alarms() {
    struct sigaction action {};
    action.sa_handler = count;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, &before_);
    const itimerval often{{0, 100}, {0, 100}};
    setitimer(ITIMER_REAL, &often, nullptr);
  }
  ~Alarms() {
    const itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
    sigaction(SIGALRM, &before_, nullptr);
  }

 private:
  struct sigaction before_ {};
};

class Signals : public ::testing::TestWithParam<Precision> {};
INSTANTIATE_TEST_SUITE_P(Precisions, Signals, ::testing::Values(Precision::fp32, Precision::bf16));

TEST_P(Signals, HandlersLeaveTheHeapAlone) {
  // The three products of a linear layer: which kernel oneDNN takes depends on what is transposed.
  constexpr Index rows = 768, in = 128, out = 64;
  auto random = testing::generator();
  const auto x = testing::uniform<float>(random, rows * in);
  const auto weight = testing::uniform<float>(random, out * in);
  const auto dy = testing::uniform<float>(random, rows * out);
  const auto products = [&] {
    std::vector<float> all(static_cast<std::size_t>(rows * out + rows * in + out * in));
    float* const y = all.data();
    float* const dx = y + rows * out;
    float* const dweight = dx + rows * in;
    gemm(Trans::no, Trans::yes, rows, out, in, 1.0f, x.data(), in, weight.data(), in, 0.0f, y, out,
         GetParam());
    gemm(Trans::no, Trans::no, rows, in, out, 1.0f, dy.data(), out, weight.data(), in, 0.0f, dx, in,
         GetParam());
    gemm(Trans::yes, Trans::no, out, in, rows, 1.0f, dy.data(), out, x.data(), in, 0.0f, dweight, in,
         GetParam());
    return all;
  };
  const std::vector<float> expected = products();
  handled = 0;
  const Alarms alarms;
  // Blocks of the sizes that a program has lying around: a frame written below oneDNN's would end in
  // one of them, or in malloc's own books, which abort when they find it.
  std::vector<std::vector<unsigned char>> around;
  for (std::size_t round = 0; round < 100 || handled < 50; ++round) {
    around.emplace_back(64u << round % 9, static_cast<unsigned char>(round));
    ASSERT_EQ(products(), expected) << "in round " << round;
    if (around.size() < 40) continue;
    const std::vector<unsigned char>& oldest = around.front();
    for (const unsigned char byte : oldest) ASSERT_EQ(byte, oldest.front());
    around.erase(around.begin());
  }
}

}  // namespace
}  // namespace shoal::kernels
