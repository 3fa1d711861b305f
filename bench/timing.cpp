#include "timing.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>
#include <utility>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>

namespace shoal::bench {
namespace {

// The clock and the exit from the barrier are uncertain by a good part of a microsecond; between nodes
// ranks leave a barrier as far apart as a short collective takes.
constexpr double shortest_repetition = 20e-6;
constexpr double shortest_between_nodes = 2e-3;
constexpr int most_repetitions = 1000;

double time_of(const std::function<void()>& call, int times) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < times; ++i) call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / times;
}

void slowest_rank(const Communicator& comm, std::vector<double>& times) {
  all_reduce(comm, times.data(), times.data(), static_cast<Index>(times.size()), DType::f64,
             ReduceOp::max);
}

// The first calls find pages and connections to be made: where they took long for that, a handful
// of rounds would be left of hundreds. Estimates of short calls become the quickest of some tries.
void again_where_short(const Communicator& comm, std::span<const std::function<void()>> calls,
                       std::vector<double>& estimate) {
  constexpr double short_call = 0.1;  // seconds, at first
  for (int i = 0; i < 2; ++i) {
    std::vector<double> another = estimate;
    for (std::size_t at = 0; at < calls.size(); ++at) {
      if (estimate[at] > short_call) continue;
      barrier(comm);
      another[at] = time_of(calls[at], 2);
    }
    slowest_rank(comm, another);
    for (std::size_t at = 0; at < calls.size(); ++at) {
      estimate[at] = std::min(estimate[at], another[at]);
    }
  }
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

double lower_quartile(std::vector<double>& values) {
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 4);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

double middle_mean(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto cut = static_cast<std::ptrdiff_t>(values.size() / 4);
  return std::accumulate(values.begin() + cut, values.end() - cut, 0.0) /
         static_cast<double>(values.size() - 2 * static_cast<std::size_t>(cut));
}

double settling_time(const Communicator& comm, double wire, double latency) {
  if (comm.on_one_node()) return 0;
  return wire > 2 * latency ? settled_bytes : settled_latency;
}

std::vector<double> interleaved_medians(const Communicator& comm,
                                        std::span<const std::function<void()>> calls, double budget,
                                        int fewest, int untimed, double settled) {
  std::vector<double> estimate;
  for (const auto& call : calls) {
    call();
    barrier(comm);
    estimate.push_back(time_of(call, 2));
  }
  slowest_rank(comm, estimate);
  again_where_short(comm, calls, estimate);
  std::vector<int> times, before;
  double round = 0;
  const double shortest =
      std::max(comm.on_one_node() ? shortest_repetition : shortest_between_nodes, settled);
  for (const double seconds : estimate) {
    const auto calls_in = [&](double time) {
      return static_cast<int>(std::clamp(time / std::max(seconds, 1e-9), 1.0, 1000.0));
    };
    times.push_back(calls_in(shortest));
    before.push_back(settled > 0 ? std::max(untimed, calls_in(settled)) : untimed);
    round += seconds * (times.back() + before.back());
  }
  const auto repetitions = static_cast<std::size_t>(std::clamp(
      budget / std::max(round, 1e-9), static_cast<double>(fewest), double{most_repetitions}));
  std::vector<double> measured(repetitions * calls.size());
  std::vector<std::size_t> order(calls.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::minstd_rand shuffler(1);
  for (std::size_t repetition = 0; repetition < repetitions; ++repetition) {
    // In another order each time, the same on all ranks: what a call leaves behind (in caches, in what a shaped
    // link has saved up or owes) then falls on all others alike.
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[shuffler() % i]);
    for (const std::size_t i : order) {
      for (int call = 0; call < before[i]; ++call) calls[i]();
      barrier(comm);
      measured[i * repetitions + repetition] = time_of(calls[i], times[i]);
      // Where ranks share cores, one that is through must not begin with something long while another
      // still has to be given a core to see that it is through, too.
      barrier(comm);
    }
  }
  slowest_rank(comm, measured);
  std::vector<double> medians;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const auto first = measured.begin() + static_cast<std::ptrdiff_t>(i * repetitions);
    medians.push_back(median({first, first + static_cast<std::ptrdiff_t>(repetitions)}));
  }
  return medians;
}

}  // namespace shoal::bench
