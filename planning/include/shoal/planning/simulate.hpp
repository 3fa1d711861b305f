// One step, event by event: every rank computes and sends by itself, every collective is the
// messages that its algorithm consists of, every link carries one message after the other.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <shoal/planning/estimate.hpp>

namespace shoal::planning {

/// What is not as in the plan.
struct Disturbance {
  std::vector<std::pair<int, double>> slow_ranks;  ///< rank, how many times as long it computes
  std::vector<std::pair<int, double>> slow_links;  ///< rank, how many times as long its links take
  double jitter = 0;       ///< standard deviation of an operation's time, in that time; only longer
  std::uint64_t seed = 1;  ///< of the jitter
};

/// Something a rank did.
struct Span {
  int rank = 0;
  bool background = false;  ///< beside the computation
  const char* name = "";
  double begin = 0, seconds = 0;
};

/// What has come of it.
struct Simulated {
  double seconds = 0;    ///< until the last rank has done its step
  double computing = 0;  ///< of the rank that computes the longest
  std::int64_t messages = 0, events = 0;
  std::vector<Span> spans;  ///< of the first ranks, as many as were asked for
};

/// Empty if simulate() can do the layout; else why not: interleaved stages and ZeRO from 2 on are
/// not simulated.
std::string why_no_simulation(const Workload& workload, const Layout& layout);

/// Simulates a step of a layout that estimate() allows. `traced`: ranks whose spans are kept.
/// Throws UsageError for what it cannot do, and for disturbed ranks that there are not.
Simulated simulate(const Model& model, const Software& software, const Prices& prices,
                   const Workload& workload, const Layout& layout,
                   const Disturbance& disturbance = {}, int traced = 0);

/// As Chrome and Perfetto read it: a process a rank, its background a second thread.
std::string chrome_trace(const std::vector<Span>& spans);

}  // namespace shoal::planning
