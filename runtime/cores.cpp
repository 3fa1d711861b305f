#include <shoal/runtime/cores.hpp>

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "process_state.hpp"

namespace shoal {
namespace {

// By the number that the system gives a hardware thread; filled before `thread_count` says so.
std::vector<int>& places() {
  static std::vector<int> instance;
  return instance;
}
std::atomic<int> thread_count{1};
std::atomic<double> crowding{1};

}  // namespace

void set_node_threads(const std::vector<int>& numbers) {
  thread_count.store(1);
  places().clear();
  for (std::size_t place = 0; place < numbers.size(); ++place) {
    const auto number = static_cast<std::size_t>(numbers[place]);
    places().resize(std::max(places().size(), number + 1));
    places()[number] = static_cast<int>(place);
  }
  thread_count.store(std::max(1, static_cast<int>(numbers.size())), std::memory_order_release);
}

void set_ranks_per_thread(double ranks) noexcept { crowding.store(ranks); }

double ranks_per_thread() noexcept { return crowding.load(std::memory_order_relaxed); }

int node_threads() noexcept { return thread_count.load(std::memory_order_acquire); }

int current_node_thread() noexcept {
  if (node_threads() == 1) return 0;
  const int number = sched_getcpu();
  const std::vector<int>& known = places();
  return number >= 0 && static_cast<std::size_t>(number) < known.size()
             ? known[static_cast<std::size_t>(number)]
             : 0;
}

}  // namespace shoal
