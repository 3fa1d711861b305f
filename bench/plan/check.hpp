// The parts of bench::check_plan: what is measured, and what the planner says of it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <shoal/bench/bench.hpp>
#include <shoal/planning/estimate.hpp>
#include <shoal/runtime/communicator.hpp>

#include "tune/condition.hpp"

namespace shoal::bench {

/// Which of a condition's figures a measurement hangs on.
enum class Hangs { on_products, on_streams_and_meetings, on_products_and_streams };

/// What the parts work with.
struct CheckContext {
  const Communicator& world;
  const planning::Cluster& cluster;
  const planning::Prices& prices;
  const PlanCheckOptions& options;
  std::vector<PlanCheck::Row>& rows;
  ConditionProbe& probe;

  /// Measures between two probes, again if the machine was in another condition than when the profile was
  /// measured: of all tries the one nearest to it counts. Adds a row; the measurement of rank 0 counts.
  void add(const char* kind, const std::string& what, bool fitted, Hangs hangs,
           const std::function<double()>& measure, double predicted) const;

 private:
  double apart(const Probe& now, Hangs hangs) const;
  double excess(const Probe& now, Hangs hangs) const;
};

/// Collectives of the world, and of its halves at once, in sizes measured for the profile and between.
void check_collectives(const CheckContext& context);
/// Products, and layers divided over all ranks, forward and backward.
void check_layers(const CheckContext& context);
/// Training steps on every mesh.
void check_steps(const CheckContext& context, std::vector<PlanCheck::Choice>& choices);

}  // namespace shoal::bench
