#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/findings.hpp"

namespace shoal::launch::report {
namespace {

constexpr std::size_t most_curves = 5;  // so many colours can be told apart

std::string measure_name(const EqualMeasure& measure) {
  if (measure.name.starts_with("peak")) return "peak arithmetic, " + measure.type;
  return measure.type.empty() ? measure.name : measure.name + ", " + measure.type;
}

Tone tone_of_measure(const EqualMeasure& measure) {
  if (measure.name == "training") return Tone::ours;
  if (measure.name == "prefill") return Tone::first;
  if (measure.name == "decode") return Tone::third;
  return Tone::bound;
}

const std::vector<std::pair<std::string, Tone>>& measure_legend() {
  static const std::vector<std::pair<std::string, Tone>> legend = {{"sums", Tone::bound},
                                                                   {"training", Tone::ours},
                                                                   {"reading prompts", Tone::first},
                                                                   {"generating", Tone::third}};
  return legend;
}

std::string nodes_text(double nodes) {
  return nodes < 1000 ? fmt::format("{:.{}f}", nodes, nodes < 9.95 && nodes != std::floor(nodes) ? 1 : 0)
                      : text_with_unit(nodes, Unit::count);
}

// A profile of one's own is known by the name of its file.
std::string node_of(const EqualFile& file) {
  return file.node.ends_with(".json") && !file.cluster.empty() ? file.cluster : file.node;
}

Table measures_table(const EqualFile& file) {
  Table table;
  table.heads = {"measure", file.device, fmt::format("{:.0f} × {}", file.nodes, node_of(file)), "ratio",
                 "nodes that equal"};
  const bool power = file.device_watts && file.nodes_watts;
  if (power) table.heads.push_back("ratio a watt");
  for (const EqualMeasure& measure : file.measures) {
    const auto value = [](double number) {
      return number > 0 ? text_with_unit(number, Unit::count) : "–";
    };
    const bool both = measure.device > 0 && measure.nodes > 0;
    std::vector<std::string> cells = {
        measure_name(measure), value(measure.device), value(measure.nodes),
        both ? text_with_unit(measure.nodes / measure.device, Unit::ratio) : "–",
        measure.device <= 0 ? "–" : measure.needed ? nodes_text(*measure.needed) : "never"};
    if (power) {
      cells.push_back(both ? text_with_unit(measure.nodes / measure.device * *file.device_watts /
                                                *file.nodes_watts,
                                            Unit::ratio)
                           : "–");
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Table figures_table(const EqualFile& file) {
  Table table;
  table.title = "The figures behind it, with their sources";
  table.heads = {"of", "figure", "value", "confidence", "source"};
  for (const Figure& figure : file.figures) {
    table.rows.push_back({figure.of, figure.name, text_with_unit(figure.value, Unit::count),
                          figure.confidence, figure.source});
  }
  return table;
}

std::optional<Chart> nodes_chart(const EqualFile& file, const std::string& id,
                                 const std::string& node_name) {
  Chart chart;
  chart.id = id + "-nodes";
  chart.x = {"nodes that equal " + file.device, Unit::count, true};
  std::vector<std::string> never;
  const EqualMeasure* least = nullptr;
  const EqualMeasure* most = nullptr;
  for (const EqualMeasure& measure : file.measures) {
    if (measure.device <= 0) continue;
    if (!measure.needed) {
      never.push_back(measure_name(measure));
      continue;
    }
    chart.bars.push_back({measure_name(measure), tone_of_measure(measure), *measure.needed,
                          nodes_text(*measure.needed)});
    if (least == nullptr || *measure.needed < *least->needed) least = &measure;
    if (most == nullptr || *measure.needed > *most->needed) most = &measure;
  }
  if (chart.bars.empty()) return std::nullopt;
  chart.bar_tones = measure_legend();
  chart.finding = fmt::format("{} {} equal one {} in {}", nodes_text(*least->needed), node_name,
                              file.device, measure_name(*least));
  if (most != least) {
    chart.finding += fmt::format(", {} in {}", nodes_text(*most->needed), measure_name(*most));
  }
  if (!never.empty()) chart.finding += "; no number does in " + listed(never);
  chart.caption = fmt::format(
      "Model {}. Sums are divided; for training, reading prompts and generating the best layout is "
      "searched for each number of nodes. Logarithmic.",
      file.model);
  chart.tables = {measures_table(file)};
  if (!file.figures.empty()) chart.tables.push_back(figures_table(file));
  chart.sources = {id};
  return chart;
}

}  // namespace

std::optional<Chart> equal_curve(const EqualFile& file, const std::string& id) {
  Chart chart;
  chart.id = id + "-curve";
  chart.x = {"nodes", Unit::count, true};
  const bool share = std::any_of(file.measures.begin(), file.measures.end(), [](const auto& measure) {
    return !measure.curve.empty() && measure.device > 0;
  });
  chart.y = {share ? "speed, of " + file.device : "tokens a second", share ? Unit::ratio : Unit::tokens,
             true};
  if (share) {
    chart.reference = 1;
    chart.reference_name = file.device;
  }
  constexpr Tone curve_tones[most_curves] = {Tone::ours, Tone::first, Tone::third, Tone::second,
                                             Tone::fourth};
  chart.tables = {{"", {"measure", "nodes", "tokens/s", "of the device"}, {}}};
  std::vector<std::string> words;
  for (const EqualMeasure& measure : file.measures) {
    if (measure.curve.empty() || (share && measure.device <= 0)) continue;
    if (chart.curves.size() == most_curves) break;
    Curve curve{measure_name(measure), curve_tones[chart.curves.size()], Curve::Form::line_and_points, {}};
    for (const CurvePoint& point : measure.curve) {
      if (point.tokens_per_second <= 0) continue;  // the model does not fit
      const double value = share ? point.tokens_per_second / measure.device : point.tokens_per_second;
      curve.points.emplace_back(point.nodes, value);
      chart.tables[0].rows.push_back({measure_name(measure), fmt::format("{:.0f}", point.nodes),
                                      text_with_unit(point.tokens_per_second, Unit::tokens),
                                      share ? text_with_unit(value, Unit::ratio) : "–"});
    }
    if (curve.points.empty()) continue;
    if (measure.stops > 0) {
      words.push_back(fmt::format("{} at {:.0f} nodes ({})", measure_name(measure), measure.stops,
                                  measure.why));
    }
    chart.curves.push_back(std::move(curve));
  }
  if (chart.curves.empty()) return std::nullopt;
  chart.finding = words.empty() ? "More nodes help as far as was tried"
                                : "More nodes stop helping: " + listed(words);
  chart.caption = fmt::format(
      "Model {}; both axes logarithmic. They stop helping where twice as many give less than a tenth "
      "more; in parentheses what takes the time there.",
      file.model);
  chart.sources = {id};
  return chart;
}

Findings equal_findings(const EqualFile& file, const std::string& id, const std::string& node_name) {
  Findings out;
  if (auto chart = nodes_chart(file, id, node_name)) {
    for (const EqualMeasure& measure : file.measures) {
      if (measure.name != "decode" || !measure.needed || measure.device <= 0) continue;
      out.headlines.push_back({nodes_text(*measure.needed),
                               fmt::format("{} equal one {} in generating with {} ({}), by the planner",
                                           node_name, file.device, file.model, measure.type),
                               chart->id});
      break;
    }
    out.charts.push_back(std::move(*chart));
  } else {
    out.gaps.push_back(fmt::format("No number of {} equals {} in anything.", node_name, file.device));
  }
  if (auto chart = equal_curve(file, id)) out.charts.push_back(std::move(*chart));
  return out;
}

Findings comparison_findings(const EqualFile& file, const std::string& id) {
  Findings out;
  Chart chart;
  chart.id = id + "-ratios";
  chart.x = {"what the cluster does, as a multiple of " + file.device, Unit::ratio, false};
  chart.reference = 1;
  chart.reference_name = file.device;
  double least = 1e300, most = 0;
  std::vector<std::string> behind;
  for (const EqualMeasure& measure : file.measures) {
    if (measure.device <= 0 || measure.nodes <= 0) continue;
    const double ratio = measure.nodes / measure.device;
    chart.bars.push_back({measure_name(measure), tone_of_measure(measure), ratio, ""});
    if (!measure.curve.empty()) {
      least = std::min(least, ratio);
      most = std::max(most, ratio);
    }
    if (ratio < 1) behind.push_back(measure_name(measure));
  }
  if (chart.bars.empty()) {
    out.gaps.push_back(id + ".json has nothing that both can do.");
    return out;
  }
  chart.bar_tones = measure_legend();
  const std::string cluster = file.cluster.empty() ? file.node : file.cluster;
  const bool works = most > 0;
  chart.finding =
      works ? fmt::format("{} does {} times the work of {} on {}", cluster, range_text(least, most),
                          file.device, file.model)
            : fmt::format("{} against {}", cluster, file.device);
  std::string power;
  if (file.device_watts && file.nodes_watts) {
    power = text_with_unit(*file.nodes_watts / *file.device_watts, Unit::ratio);
    chart.finding += fmt::format(", at {} times the power", power);
  }
  if (!behind.empty()) chart.finding += "; it is behind in " + listed(behind);
  chart.caption = fmt::format(
      "Computed by the planner, not measured, from published figures: {:.0f} × {} against {:.0f} GPUs. How "
      "far each figure can be trusted (A read at the source to E assumed) is in the table.",
      file.nodes, file.node, file.device_units);
  chart.tables = {measures_table(file)};
  if (!file.figures.empty()) chart.tables.push_back(figures_table(file));
  chart.sources = {id};
  if (works) {
    out.headlines.push_back({fmt::format("{:.1f} – {:.1f} ×", least, most),
                             fmt::format("{} over {} in work on {}, by published figures{}", cluster,
                                         file.device, file.model,
                                         power.empty() ? "" : ", at " + power + " times the power"),
                             chart.id});
  }
  out.charts.push_back(std::move(chart));
  return out;
}

}  // namespace shoal::launch::report
