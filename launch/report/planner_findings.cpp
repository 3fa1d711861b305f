// What the planner says of this machine, against what the machine does.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/findings.hpp"

namespace shoal::launch::report {
namespace {

struct RowKind {
  const char* name;
  const char* plural;
  Tone tone;
};
constexpr RowKind row_kinds[] = {{"collective", "collectives", Tone::first},
                                 {"product", "products", Tone::third},
                                 {"layer", "layers", Tone::fourth},
                                 {"step", "training steps", Tone::ours}};

std::string error_text(double error) { return fmt::format("{:+.1f} %", 100 * error); }

}  // namespace

Findings check_findings(const CheckFile& file, const std::string& id) {
  Chart chart;
  chart.id = id;
  chart.x = {"measured", Unit::seconds, true};
  chart.y = {"predicted", Unit::seconds, true};
  std::vector<double> errors, unfitted;
  double least = 1e300, most = 0;
  for (const RowKind& kind : row_kinds) {
    Curve curve{kind.plural, kind.tone, Curve::Form::points, {}};
    for (const CheckRow& row : file.rows) {
      if (row.kind != kind.name) continue;
      curve.points.emplace_back(row.measured, row.predicted);
      least = std::min(least, row.measured);
      most = std::max(most, row.measured);
    }
    std::sort(curve.points.begin(), curve.points.end());
    if (!curve.points.empty()) chart.curves.push_back(std::move(curve));
  }
  Table rows{"", {"", "measured", "predicted", "error", "in the profile"}, {}};
  for (const CheckRow& row : file.rows) {
    const double error = row.predicted / row.measured - 1;
    errors.push_back(std::abs(error));
    if (!row.fitted) unfitted.push_back(std::abs(error));
    rows.rows.push_back({row.what, text_with_unit(row.measured, Unit::seconds),
                         text_with_unit(row.predicted, Unit::seconds), error_text(error),
                         row.fitted ? "yes" : "no"});
  }
  chart.curves.push_back({"as measured", Tone::bound, Curve::Form::dashed, {{least, least}, {most, most}}});
  Table meshes{"Meshes", {"model", "the plan takes", "the quickest", "slower by"}, {}};
  double lost = 0;
  for (const CheckChoice& choice : file.choices) {
    const double slower = choice.planned_seconds / choice.quickest_seconds - 1;
    lost = std::max(lost, slower);
    meshes.rows.push_back({choice.model, choice.planned, choice.quickest, error_text(slower)});
  }
  const double median = median_of(errors);
  chart.finding = fmt::format("The planner is off by {:.1f} % in the median of {} configurations, {:.0f} % at worst",
                              100 * median, errors.size(), 100 * *std::max_element(errors.begin(), errors.end()));
  chart.caption = fmt::format(
      "Of the {} that its profile does not hold as such the median is {:.1f} %. {}Both axes logarithmic.",
      unfitted.size(), unfitted.empty() ? 0.0 : 100 * median_of(unfitted),
      file.choices.empty()
          ? ""
          : fmt::format("Of the meshes it takes one that is {:.1f} % slower than the quickest at most. ",
                        100 * lost));
  chart.tables = {std::move(rows)};
  if (!meshes.rows.empty()) chart.tables.push_back(std::move(meshes));
  chart.sources = {id};
  Findings out;
  out.headlines.push_back({fmt::format("{:.1f} %", 100 * median),
                           "is what the planner is off by in the median", chart.id});
  out.charts.push_back(std::move(chart));
  return out;
}

Findings layer_findings(const BenchFile& file, const std::string& id) {
  Chart chart;
  chart.id = id;
  chart.x = {"share of the bound", Unit::percent, false};
  chart.reference = 1;
  chart.reference_name = "bound";
  Table table{"", {"block", "mesh", "type", "time", "of the bound", "E", "in communication", "peer", "peer / Shoal"}, {}};
  double least = 1e300, most = 0;
  for (const BenchRow& row : file.rows) {
    if (row.op != "layer" || !row.bound_seconds) continue;
    const double share = *row.bound_seconds / row.seconds;
    least = std::min(least, share);
    most = std::max(most, share);
    const Tone tone = row.dtype == "fp32" ? Tone::ours : Tone::first;
    chart.bars.push_back({row.shape + ", " + row.dtype, tone, share, ""});
    if (std::none_of(chart.bar_tones.begin(), chart.bar_tones.end(),
                     [&](const auto& each) { return each.first == row.dtype; })) {
      chart.bar_tones.emplace_back(row.dtype, tone);
    }
    table.rows.push_back(
        {row.shape, row.algorithm, row.dtype, text_with_unit(row.seconds, Unit::seconds),
         text_with_unit(share, Unit::percent), text_with_unit(row.more_of("e"), Unit::ratio),
         text_with_unit(row.more_of("communication_us") * 1e-6, Unit::seconds),
         row.peer.empty() ? "–" : row.peer,
         row.peer_seconds ? text_with_unit(*row.peer_seconds / row.seconds, Unit::ratio) : "–"});
  }
  Findings out;
  if (chart.bars.empty()) {
    out.gaps.push_back("The file " + id + ".json has no layer with its bound.");
    return out;
  }
  chart.finding = fmt::format("A transformer block divided over {} ranks runs at {} of the bound",
                              file.ranks, range_text(least, most, Unit::percent));
  chart.caption =
      "Forward and backward. The bound is the arithmetic at the measured peak of all ranks. E: speed over "
      "that of one process with as many threads.";
  chart.tables = {std::move(table)};
  chart.sources = {id};
  out.charts.push_back(std::move(chart));
  return out;
}

}  // namespace shoal::launch::report
