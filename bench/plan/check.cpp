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

PlanCheck::Summary summary_of(const std::vector<PlanCheck::Row>& rows, bool otherwise_too) {
  PlanCheck::Summary summary;
  std::vector<double> errors, unfitted;
  for (const PlanCheck::Row& row : rows) {
    if (row.otherwise && !otherwise_too) continue;
    errors.push_back(std::abs(row.error()));
    if (!row.fitted) unfitted.push_back(errors.back());
    summary.worst = std::max(summary.worst, errors.back());
  }
  summary.rows = errors.size();
  if (!errors.empty()) summary.median = median(errors);
  if (!unfitted.empty()) summary.median_unfitted = median(unfitted);
  return summary;
}

}  // namespace

// How many times the machine was from the profile's condition, in what a measurement hangs on.
double CheckContext::apart(const Probe& now, Hangs hangs) const {
  if (!cluster.condition) return 1;
  const Probe then = probe_of(*cluster.condition);
  switch (hangs) {
    case Hangs::on_products: return product_apart(now, then);
    case Hangs::on_streams_and_meetings:
      return std::max(stream_apart(now, then), meeting_apart(now, then));
    case Hangs::on_products_and_streams: return work_apart(now, then);
  }
  return 1;
}

// The same, in tolerances: above 1 it was another condition.
double CheckContext::excess(const Probe& now, Hangs hangs) const {
  if (!cluster.condition) return 0;
  const Probe then = probe_of(*cluster.condition);
  const auto of = [](double apart, double tolerance) { return (apart - 1) / (tolerance - 1); };
  if (hangs != Hangs::on_streams_and_meetings) return of(apart(now, hangs), work_tolerance);
  return std::max(of(stream_apart(now, then), work_tolerance),
                  of(meeting_apart(now, then), meeting_tolerance));
}

double PlanCheck::Row::error() const noexcept { return predicted / measured - 1; }

void CheckContext::add(const char* kind, const std::string& what, bool fitted, Hangs hangs,
                       const std::function<double()>& measure, double predicted) const {
  constexpr int tries = 3;
  PlanCheck::Row row;
  row.kind = kind;
  row.what = what;
  row.fitted = fitted;
  double nearest = 0;
  for (int i = 0; i < tries; ++i) {
    const Probe before = probe.taken().back();
    const double measured = measure();
    const Probe after = probe.take();
    const double off = std::max(excess(before, hangs), excess(after, hangs));
    if (i > 0 && off >= nearest) continue;
    nearest = off;
    double both[2] = {measured, predicted};
    broadcast(world, both, 2, DType::f64, 0);
    row.measured = both[0];
    row.predicted = both[1];
    row.apart = std::max(apart(before, hangs), apart(after, hangs));
    row.otherwise = off > 1;
    if (!row.otherwise) break;
  }
  rows.push_back(row);
  if (options.progress && world.rank() == 0) options.progress(rows.back());
}

PlanCheck check_plan(const Communicator& world, const PlanCheckOptions& options) {
  require_like(world, options.cluster);
  const planning::Prices prices(options.cluster);
  PlanCheck check;
  ConditionProbe probe(world);
  probe.take();
  const CheckContext context{world, options.cluster, prices, options, check.rows, probe};
  if (options.parts) {
    check_collectives(context);
    check_layers(context);
  }
  check_steps(context, check.choices);
  check.all = summary_of(check.rows, true);
  check.alike = summary_of(check.rows, false);
  return check;
}

}  // namespace shoal::bench
