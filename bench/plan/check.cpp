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

PlanCheck::Summary summary_of(const std::vector<PlanCheck::Row>& rows, bool otherwise_too,
                              double (PlanCheck::Row::*error)()
                                  const noexcept = &PlanCheck::Row::error) {
  PlanCheck::Summary summary;
  std::vector<double> errors, unfitted;
  for (const PlanCheck::Row& row : rows) {
    if (row.otherwise && !otherwise_too) continue;
    errors.push_back(std::abs((row.*error)()));
    if (!row.fitted) unfitted.push_back(errors.back());
    summary.worst = std::max(summary.worst, errors.back());
  }
  summary.rows = errors.size();
  if (!errors.empty()) summary.median = median(errors);
  if (!unfitted.empty()) summary.median_unfitted = median(unfitted);
  return summary;
}

// How many times one probe was from another, in what a measurement hangs on.
double apart(const Probe& before, const Probe& after, Hangs hangs) {
  switch (hangs) {
    case Hangs::on_products:
      return product_apart(before, after);
    case Hangs::on_streams_and_meetings:
      return std::max(stream_apart(before, after), meeting_apart(before, after));
    case Hangs::on_products_and_streams:
      return work_apart(before, after);
  }
  return 1;
}

// The same, in tolerances: above 1 the machine changed.
double excess(const Probe& before, const Probe& after, Hangs hangs) {
  const auto of = [](double apart, double tolerance) { return (apart - 1) / (tolerance - 1); };
  if (hangs != Hangs::on_streams_and_meetings)
    return of(apart(before, after, hangs), work_tolerance);
  return std::max(of(stream_apart(before, after), work_tolerance),
                  of(meeting_apart(before, after), meeting_tolerance));
}

}  // namespace

double PlanCheck::Row::error() const noexcept { return predicted / measured - 1; }

double PlanCheck::Row::error_as_tuned() const noexcept { return as_tuned / measured - 1; }

void settle(PlanCheck::Row& row, const std::vector<CheckTry>& tries) {
  std::vector<CheckTry> alike;
  for (const CheckTry& each : tries) {
    if (each.excess <= 1) alike.push_back(each);
  }
  row.otherwise = alike.empty();
  if (row.otherwise) {
    alike.push_back(*std::min_element(tries.begin(), tries.end(), [](const CheckTry& a, const CheckTry& b) {
      return a.excess < b.excess;
    }));
  }
  std::sort(alike.begin(), alike.end(),
            [](const CheckTry& a, const CheckTry& b) { return a.ratio() < b.ratio(); });
  const CheckTry& middle = alike[(alike.size() - 1) / 2];  // of an even number the shorter: other work only adds
  row.measured = middle.seconds;
  row.predicted = middle.predicted;
  row.apart = middle.apart;
  row.tries = static_cast<int>(alike.size());
  row.scatter = alike.back().ratio() / alike.front().ratio();
}

void CheckContext::add(const char* kind, const std::string& what, bool fitted, Hangs hangs,
                       const std::function<double()>& measure, const Prediction& predict) const {
  constexpr int further = 2;
  constexpr double far_apart = 1.25;  // from here on the middle of a few says little
  const std::size_t index = turn.next++;
  if (index == rows.size()) {
    PlanCheck::Row row;
    row.kind = kind;
    row.what = what;
    row.fitted = fitted;
    row.as_tuned = predict(cluster);
    broadcast(world, &row.as_tuned, 1, DType::f64, 0);
    rows.push_back(row);
    turn.of_rows.emplace_back();
  }
  PlanCheck::Row& row = rows[index];
  std::vector<CheckTry>& tries = turn.of_rows[index];
  for (int i = 0;; ++i) {
    const Probe before = present.look();
    const double measured = measure();
    const Probe after = probe.take();
    double both[2] = {measured, predict(present.between(before, after))};
    broadcast(world, both, 2, DType::f64, 0);
    // Probes are the same on all ranks, and so is whether to go on.
    tries.push_back({both[0], both[1], apart(before, after, hangs), excess(before, after, hangs)});
    settle(row, tries);
    if (!turn.last || i == further || !(row.otherwise || row.scatter > far_apart)) break;
  }
  if (turn.last && options.progress && world.rank() == 0) options.progress(row);
}

PlanCheck check_plan(const Communicator& world, const PlanCheckOptions& options) {
  require_like(world, options.cluster);
  PlanCheck check;
  ConditionProbe probe(world);
  PresentMachine present(world, options.cluster, probe);
  CheckTurn turn;
  const CheckContext context{world, options.cluster, options, check.rows, probe, present, turn};
  // As the profile's kernels: turns over all of them, so that what happens to the machine for some seconds is in
  // one try of a row, not in all. Steps, whose tries are many calls long and begin with all memory anew, have one less.
  const auto in_turns = [&](int turns, const auto& measure_all) {
    const std::size_t first = check.rows.size();
    for (int i = 0; i < turns; ++i) {
      turn.next = first;
      turn.last = i + 1 == turns;
      measure_all();
    }
  };
  constexpr int turns_of_parts = 3, turns_of_steps = 2;
  if (options.parts) {
    in_turns(turns_of_parts, [&] {
      check_collectives(context);
      check_layers(context);
    });
  }
  in_turns(turns_of_steps, [&] { check_steps(context, check.choices); });
  check.all = summary_of(check.rows, true);
  check.alike = summary_of(check.rows, false);
  check.as_tuned = summary_of(check.rows, true, &PlanCheck::Row::error_as_tuned);
  return check;
}

}  // namespace shoal::bench
