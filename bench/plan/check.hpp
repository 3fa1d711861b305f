// The parts of bench::check_plan: what is measured, and what the planner says of it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <shoal/bench/bench.hpp>
#include <shoal/planning/estimate.hpp>
#include <shoal/runtime/communicator.hpp>

#include "plan/present.hpp"
#include "tune/condition.hpp"

namespace shoal::bench {

/// Which of a condition's figures a measurement hangs on.
enum class Hangs { on_products, on_streams_and_meetings, on_products_and_streams };

/// One measurement of a row.
struct CheckTry {
  double seconds = 0;
  double predicted = 0;  ///< for the condition of that moment
  double apart = 1;      ///< the probe after it from that before it, as of the row
  double excess = 0;     ///< the same in tolerances: above 1 the machine changed meanwhile

  double ratio() const noexcept { return seconds / predicted; }
};

/// What a row is measured in several times: turns, so that its tries are spread over time.
struct CheckTurn {
  bool last = true;
  std::size_t next = 0;                         ///< the row that the next measurement belongs to
  std::vector<std::vector<CheckTry>> of_rows = {};  ///< tries of each row
};

/// What a row's prediction is by a profile.
using Prediction = std::function<double(const planning::Cluster&)>;

/// Sets what was measured and predicted: the middle, by the one over the other, of the tries during
/// which the machine did not change, of an even number the shorter; without any, the try during
/// which it changed least.
void settle(PlanCheck::Row& row, const std::vector<CheckTry>& tries);

/// What the parts work with.
struct CheckContext {
  const Communicator& world;
  const planning::Cluster& cluster;
  const PlanCheckOptions& options;
  std::vector<PlanCheck::Row>& rows;
  ConditionProbe& probe;
  PresentMachine& present;
  CheckTurn& turn;

  /// Measures between two probes, and predicts for the condition between them: adds a row, or in a
  /// further turn another try to the row that is next. In the last turn it is measured again, up to
  /// twice, while the machine changed during every try, or the others lie far apart. What rank 0
  /// measures and predicts counts.
  void add(const char* kind, const std::string& what, bool fitted, Hangs hangs,
           const std::function<double()>& measure, const Prediction& predict) const;
};

/// Collectives of the world, and of its halves at once, in sizes measured for the profile and between.
void check_collectives(const CheckContext& context);
/// Products, and layers divided over all ranks, forward and backward.
void check_layers(const CheckContext& context);
/// Training steps on every mesh; in the last turn also which is the quickest.
void check_steps(const CheckContext& context, std::vector<PlanCheck::Choice>& choices);

}  // namespace shoal::bench
