// victim FATE: ranks that all-reduce in a loop until fate strikes the last rank at the 20th. What
// the others then say is for faults_test.sh to judge.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <shoal/collectives/collectives.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/runtime.hpp>

namespace shoal {
namespace {

using namespace std::chrono_literals;

constexpr int fatal_round = 20;

// What the last rank does in the fatal round, while the others are in the all-reduce.
void strike(const std::string& fate) {
  if (fate == "kill") std::raise(SIGKILL);
  if (fate == "stop") std::raise(SIGSTOP);
  if (fate == "term") std::raise(SIGTERM);  // only noted at first: it dies in its sleep
  if (fate == "exit") std::_Exit(0);
  if (fate == "throw") throw Error("victim", "fate has struck");
  if (fate == "memory") throw std::bad_alloc();
  // Until the kernel ends it, which must be told to do so at less than this.
  if (fate == "devour") {
    constexpr std::size_t piece = std::size_t{16} << 20;
    std::vector<std::unique_ptr<char[]>> eaten;
    for (int i = 0; i < 128; ++i) {
      eaten.emplace_back(new char[piece]);
      std::memset(eaten.back().get(), 1, piece);
    }
    throw Error("victim", "has got 2 GiB, although there is a limit");
  }
  // Longer than SHOAL_SILENCE, but that is no fault.
  if (fate == "compute") {
    const auto end = std::chrono::steady_clock::now() + 6s;
    while (std::chrono::steady_clock::now() < end) {
    }
  }
  if (fate == "hang" || fate == "term") std::this_thread::sleep_for(1h);
}

// Rank a sends 10 (a + 1) + b elements to rank b, but the last one has one more for rank 0.
void all_to_all_unevenly(const Communicator& comm) {
  std::vector<Index> to, from;
  for (Rank peer = 0; peer < comm.size(); ++peer) {
    to.push_back(10 * (comm.rank() + 1) + peer);
    from.push_back(10 * (peer + 1) + comm.rank());
  }
  if (comm.rank() == comm.size() - 1) ++to.front();
  const std::vector<float> in(1000, 1.0f);
  std::vector<float> out(1000);
  all_to_all(comm, in.data(), to, out.data(), from, DType::f32);
}

// One that takes its time, again and again, for someone outside to strike in the middle.
[[noreturn]] void all_reduce_much(const Communicator& comm) {
  std::vector<float> data(std::size_t{4} << 20, 1.0f);
  for (int round = 1;; ++round) {
    all_reduce(comm, std::span(data), ReduceOp::max);
    if (comm.rank() != 0) continue;
    std::printf("round %d\n", round);
    std::fflush(stdout);
  }
}

int run(Runtime& runtime, const std::string& fate) {
  const Communicator& world = runtime.world();
  const bool last = world.rank() == world.size() - 1;
  const Communicator group = world.duplicate("school");
  if (fate == "large") all_reduce_much(group);
  std::vector<float> data(1000, 1.0f);
  std::printf("pid %d\n", static_cast<int>(getpid()));
  std::fflush(stdout);
  for (int round = 1; round <= 40; ++round) {
    const bool fatal = round == fatal_round && last;
    if (fatal) {
      std::this_thread::sleep_for(1s);  // by then the others wait, on a busy machine too
      std::printf("struck\n");
      std::fflush(stdout);
      strike(fate);
    }
    if (round == fatal_round &&
        fate == "finalize") {  // strikes the first, with the others in there
      if (world.rank() != 0) return 0;
      std::this_thread::sleep_for(1s);
      std::raise(SIGKILL);
    }
    if (fatal && fate == "length") {
      all_reduce(group, data.data(), data.data(), 900, DType::f32, ReduceOp::sum);
    } else if (fatal && fate == "type") {
      all_reduce(group, data.data(), data.data(), 1000, DType::i32, ReduceOp::sum);
    } else if (round == fatal_round && fate == "uneven") {
      all_to_all_unevenly(group);
    } else if (fatal && fate == "order") {
      barrier(group);
    } else if (fatal && fate == "other") {
      barrier(world);  // the others are in another communicator's collective
    } else {
      all_reduce(group, std::span(data), ReduceOp::max,
                 {round >= fatal_round && fate == "blocking" ? "mpi" : ""});
    }
    if (fatal && fate == "blocking") std::raise(SIGSTOP);
  }
  if (world.rank() == 0) std::printf("all rounds done\n");
  return 0;
}

}  // namespace
}  // namespace shoal

int main(int argc, char** argv) {
  const std::string fate = argc > 1 ? argv[1] : "none";
  return shoal::run_main({}, [&](shoal::Runtime& runtime) { return shoal::run(runtime, fate); });
}
