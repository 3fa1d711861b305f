#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include <fmt/format.h>

#include "report/findings.hpp"

namespace shoal::launch::report {
namespace {

Tone tone_of_precision(const std::string& type) {
  return type == "fp32" ? Tone::ours : type == "bf16" ? Tone::first : Tone::fifth;
}

// What was measured of a model in a type, by ranks.
struct SpeedPoint {
  double ranks, tokens_per_second;
  const BenchRow* row;
};
using ByType = std::map<std::string, std::vector<SpeedPoint>, std::greater<>>;  // fp32 first

double speed_of(const BenchRow& row) { return row.more_of("tokens_per_s"); }

// The speed predicted for as many ranks on one machine; 0: none.
double predicted_at(const std::vector<Prediction>& points, double ranks) {
  for (const Prediction& point : points) {
    if (point.nodes == 1 && point.ranks == ranks) return point.tokens_per_second;
  }
  return 0;
}

Chart training_chart(const std::string& model, const ByType& by_type,
                     const std::optional<PredictionFile>& predictions,
                     std::vector<Headline>& headlines) {
  Chart chart;
  chart.id = "train-" + model;
  chart.x = {"ranks, one a core", Unit::count, true};
  chart.y = {"tokens a second", Unit::tokens, true};
  chart.tables = {{"",
                   {"ranks", "type", "mesh", "tokens/s", "step", "of the bound", "model says", "off by"},
                   {}}};
  std::vector<std::string> speedups;
  double far_ranks = 0, far_nodes = 0, far_gain = 0;
  std::vector<double> errors;
  for (const auto& [type, points] : by_type) {
    std::vector<Prediction> expected;
    if (predictions) {
      for (const Prediction& point : predictions->points) {
        if (point.model == model && point.type == type) expected.push_back(point);
      }
    }
    Curve curve{type + ", measured", tone_of_precision(type), Curve::Form::points, {}};
    if (expected.empty()) curve.form = Curve::Form::line_and_points;
    for (const SpeedPoint& each : points) {
      curve.points.emplace_back(each.ranks, each.tokens_per_second);
      const double said = predicted_at(expected, each.ranks);
      if (said > 0) errors.push_back(std::abs(said / each.tokens_per_second - 1));
      chart.tables[0].rows.push_back(
          {fmt::format("{:.0f}", each.ranks), type, each.row->algorithm,
           text_with_unit(each.tokens_per_second, Unit::tokens),
           text_with_unit(each.row->seconds, Unit::seconds),
           each.row->bound_seconds
               ? text_with_unit(*each.row->bound_seconds / each.row->seconds, Unit::percent)
               : "–",
           said > 0 ? text_with_unit(said, Unit::tokens) : "–",
           said > 0 ? fmt::format("{:+.0f} %", 100 * (said / each.tokens_per_second - 1)) : "–"});
    }
    if (!expected.empty()) {
      Curve model_curve{type + ", the planner’s model", tone_of_precision(type), Curve::Form::dashed, {}};
      for (const Prediction& point : expected) {
        model_curve.points.emplace_back(point.ranks, point.tokens_per_second);
      }
      const Prediction& last = expected.back();
      if (last.nodes > 1 && last.tokens_per_second / expected.front().tokens_per_second > far_gain) {
        far_ranks = last.ranks;
        far_nodes = last.nodes;
        far_gain = last.tokens_per_second / expected.front().tokens_per_second;
      }
      chart.curves.push_back(std::move(curve));
      chart.curves.push_back(std::move(model_curve));
    } else {
      chart.curves.push_back(std::move(curve));
    }
    if (points.size() > 1 && points.front().ranks == 1) {
      const double gain = points.back().tokens_per_second / points.front().tokens_per_second;
      speedups.push_back(fmt::format("{} times in {}", text_with_unit(gain, Unit::ratio), type));
      if (headlines.empty()) {
        headlines.push_back({text_with_unit(gain, Unit::ratio) + " ×",
                             fmt::format("one rank’s speed on {:.0f} ranks: training {} in {}",
                                         points.back().ranks, model, type),
                             chart.id});
      }
    }
  }
  const SpeedPoint& best = by_type.begin()->second.back();
  if (!speedups.empty()) {
    chart.finding = fmt::format("{} trains on {:.0f} ranks at {} the speed of one", model,
                                best.ranks, listed(speedups));
  } else {
    chart.finding = fmt::format("{} trains at {} tokens a second on {:.0f} rank(s)", model,
                                text_with_unit(best.tokens_per_second, Unit::tokens), best.ranks);
  }
  chart.caption = "Random tokens, the same batch on any number of ranks; both axes logarithmic.";
  if (!errors.empty()) {
    chart.caption += fmt::format(
        " Dashed: what the planner computes from the rate of a product, of the memory and of small "
        "all-reduces on this machine; it is off by {} here.",
        range_text(*std::min_element(errors.begin(), errors.end()),
                   *std::max_element(errors.begin(), errors.end()), Unit::percent));
  }
  if (far_nodes > 1) {
    chart.caption += fmt::format(
        " Where there are no points it is a prediction: {:.0f} such machines ({:.0f} ranks), joined by "
        "10 Gbit/s Ethernet, at {} times the speed of one rank.",
        far_nodes, far_ranks, text_with_unit(far_gain, Unit::ratio));
  }
  return chart;
}

}  // namespace

Findings training_findings(const std::vector<TrainingRun>& runs,
                           const std::optional<PredictionFile>& predictions,
                           const std::string& predictions_id) {
  Findings out;
  std::vector<std::string> models;
  std::map<std::string, ByType> measured;
  for (const TrainingRun& run : runs) {
    for (const BenchRow& row : run.file.rows) {
      if (row.op != "train" || speed_of(row) <= 0) continue;
      if (measured.find(row.shape) == measured.end()) models.push_back(row.shape);
      measured[row.shape][row.dtype].push_back(
          {static_cast<double>(run.file.ranks), speed_of(row), &row});
    }
  }
  // The largest model says most about a machine.
  std::sort(models.begin(), models.end(), [&](const std::string& a, const std::string& b) {
    return measured[a].begin()->second.front().row->seconds /
               measured[a].begin()->second.front().tokens_per_second >
           measured[b].begin()->second.front().row->seconds /
               measured[b].begin()->second.front().tokens_per_second;
  });
  for (const std::string& model : models) {
    for (auto& [type, points] : measured[model]) {
      std::sort(points.begin(), points.end(),
                [](const SpeedPoint& a, const SpeedPoint& b) { return a.ranks < b.ranks; });
    }
    Chart chart = training_chart(model, measured[model], predictions, out.headlines);
    for (const TrainingRun& run : runs) chart.sources.push_back(run.id);
    if (predictions) chart.sources.push_back(predictions_id);
    out.charts.push_back(std::move(chart));
  }
  if (out.charts.empty()) out.gaps.push_back("There are no times of training.");
  return out;
}

Findings checkpoint_findings(const BenchFile& file, const std::string& id) {
  Findings out;
  Chart chart;
  chart.id = id + "-cost";
  chart.x = {"cost, of the time of ten steps", Unit::percent, false};
  chart.tables = {{"", {"model", "type", "bytes", "ten steps with it", "cost", "disk alone"}, {}}};
  std::vector<std::string> costs;
  std::string model;
  for (const BenchRow& row : file.rows) {
    if (row.op != "checkpoint" || row.more.find("cost") == row.more.end()) continue;
    // Noise can make it less than nothing.
    const double cost = std::max(row.more_of("cost"), 0.0), disk = std::max(row.more_of("disk_cost"), 0.0);
    chart.bars.push_back({row.dtype + ", a checkpoint beside training", Tone::ours, cost, ""});
    chart.bars.push_back({row.dtype + ", what the disk alone takes", Tone::bound, disk, ""});
    costs.push_back(fmt::format("{} in {}", text_with_unit(row.more_of("cost"), Unit::percent), row.dtype));
    model = row.shape;
    chart.tables[0].rows.push_back(
        {row.shape, row.dtype, text_with_unit(row.bytes.value_or(0), Unit::bytes),
         text_with_unit(row.seconds, Unit::seconds), text_with_unit(row.more_of("cost"), Unit::percent),
         text_with_unit(row.more_of("disk_cost"), Unit::percent)});
  }
  if (chart.bars.empty()) {
    out.gaps.push_back(id + ".json has no checkpoints.");
    return out;
  }
  chart.bar_tones = {{"measured", Tone::ours}, {"bound", Tone::bound}};
  chart.finding = fmt::format("A checkpoint of {} every ten steps costs {} of their time", model,
                              listed(costs));
  chart.caption =
      "It is written beside the training. The bound is what a computation in registers loses while every "
      "rank writes as many bytes.";
  chart.sources = {id};
  out.charts.push_back(std::move(chart));
  return out;
}

}  // namespace shoal::launch::report
