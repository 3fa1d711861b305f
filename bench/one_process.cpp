#include "one_process.hpp"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/wait.hpp>

namespace shoal::bench {
namespace {

cpu_set_t affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}

// While it lives, the OpenMP threads of this process sit on these cores; then all are back where they were.
class LentCores {
 public:
  explicit LentCores(const std::vector<int>& cores)
      : before_(affinity()), threads_(omp_get_max_threads()) {
    omp_set_num_threads(static_cast<int>(cores.size()));
#pragma omp parallel
    {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cores[static_cast<std::size_t>(omp_get_thread_num())], &one);
      sched_setaffinity(0, sizeof one, &one);
    }
  }
  ~LentCores() {
#pragma omp parallel
    sched_setaffinity(0, sizeof before_, &before_);
    omp_set_num_threads(threads_);
    // Idle threads spin for some milliseconds before they sleep.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  LentCores(const LentCores&) = delete;
  LentCores& operator=(const LentCores&) = delete;

 private:
  cpu_set_t before_;
  int threads_;
};

}  // namespace

OneProcess::OneProcess(const Communicator& world) : world_(world) {
  if (!world.on_one_node()) {
    throw UsageError("bench", "one process cannot have the cores of " +
                                  std::to_string(world.node_count()) + " nodes",
                     "run it on one node");
  }
  // As many cores of each rank as it computes with.
  const cpu_set_t mine = affinity();
  const auto wanted = static_cast<Index>(omp_get_max_threads());
  const auto ranks = static_cast<std::size_t>(world.size());
  std::vector<Index> counts(ranks);
  all_gather(world, &wanted, 1, counts.data(), DType::i64);
  std::vector<std::int32_t> usable;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &mine)) usable.push_back(core);
  }
  std::vector<std::int32_t> own;
  for (Index i = 0; i < wanted; ++i) {
    // Unbound ranks see the same cores: they take turns.
    const std::size_t at = static_cast<std::size_t>(world.rank() * wanted + i);
    own.push_back(usable[usable.size() > static_cast<std::size_t>(wanted)
                             ? at % usable.size()
                             : static_cast<std::size_t>(i) % usable.size()]);
  }
  Index total = 0;
  for (const Index count : counts) total += count;
  cores_.resize(static_cast<std::size_t>(total));
  std::vector<std::int32_t> all(cores_.size());
  all_gather(world, own.data(), all.data(), counts, DType::i32);
  std::copy(all.begin(), all.end(), cores_.begin());
}

double OneProcess::run(const std::function<void()>& call, int untimed) const {
  double seconds = 0;
  barrier(world_);
  if (world_.rank() == 0) {
    const LentCores lent(cores_);
    for (int before = 0; before < untimed; ++before) call();
    const auto start = std::chrono::steady_clock::now();
    call();
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  } else {
    pace_this_thread(WaitPolicy::sleep);
  }
  barrier(world_);
  pace_this_thread(WaitPolicy::automatic);
  broadcast(world_, &seconds, 1, DType::f64, 0);
  return seconds;
}

}  // namespace shoal::bench
