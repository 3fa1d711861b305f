// shoal plan --check: the planner against the machine it runs on.
#include "plan/check.hpp"

#include <algorithm>
#include <cmath>

#include <shoal/collectives/broadcast.hpp>
#include <shoal/planning/kernels.hpp>
#include <shoal/runtime/error.hpp>

#include "timing.hpp"

namespace shoal::bench {
namespace {

// That a profile is of such ranks as are here.
void require_like(const Communicator& world, const planning::Cluster& cluster) {
  if (cluster.device.measured.empty()) {
    throw UsageError("plan --check", "the profile " + cluster.name + " was not measured",
                     "make one with shoal tune");
  }
  const bool nodes = cluster.nodes == world.node_count();
  if (cluster.devices() == world.size() && nodes) return;
  throw UsageError("plan --check",
                   "the profile is of " + std::to_string(cluster.devices()) + " ranks on " +
                       std::to_string(cluster.nodes) + " nodes, here are " +
                       std::to_string(world.size()) + " on " + std::to_string(world.node_count()),
                   "run shoal tune with as many");
}

}  // namespace

double PlanCheck::Row::error() const noexcept { return predicted / measured - 1; }

void CheckContext::add(const char* kind, const std::string& what, bool fitted, double measured,
                       double predicted) const {
  double both[2] = {measured, predicted};
  broadcast(world, both, 2, DType::f64, 0);
  rows.push_back({kind, what, fitted, both[0], both[1]});
  if (options.progress && world.rank() == 0) options.progress(rows.back());
}

PlanCheck check_plan(const Communicator& world, const PlanCheckOptions& options) {
  require_like(world, options.cluster);
  const planning::Prices prices(options.cluster);
  PlanCheck check;
  const CheckContext context{world, options.cluster, prices, options, check.rows};
  if (options.parts) {
    check_collectives(context);
    check_layers(context);
  }
  check_steps(context, check.choices);
  std::vector<double> errors, unfitted;
  for (const PlanCheck::Row& row : check.rows) {
    errors.push_back(std::abs(row.error()));
    if (!row.fitted) unfitted.push_back(errors.back());
    check.worst = std::max(check.worst, errors.back());
  }
  check.median = median(errors);
  check.median_unfitted = median(unfitted);
  return check;
}

}  // namespace shoal::bench
