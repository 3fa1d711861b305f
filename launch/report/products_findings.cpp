#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "report/findings.hpp"

namespace shoal::launch::report {
namespace {

constexpr double few_rows = 16;  // up to so many a product reads weights more than it computes

Tone tone_of_type(const std::string& type) {
  if (type == "fp32") return Tone::ours;
  if (type == "bf16") return Tone::first;
  if (type == "bf16s") return Tone::fourth;
  if (type == "int8") return Tone::third;
  return Tone::fifth;
}

std::string shape_text(const BenchRow& row) {
  std::string text;
  for (const double extent : row.extents()) {
    text += fmt::format("{}{:.0f}", text.empty() ? "" : " × ", extent);
  }
  return text.empty() ? row.shape : text;
}

Table table_of_products(const std::vector<const BenchRow*>& rows) {
  Table table;
  table.heads = {"m × n × k", "type", "time", "rate", "of the bound", "peer", "peer / Shoal"};
  for (const BenchRow* row : rows) {
    table.rows.push_back(
        {shape_text(*row), row->dtype, text_with_unit(row->seconds, Unit::seconds),
         text_with_unit(row->more_of("gflops") * 1e9, Unit::flops),
         row->bound_seconds ? text_with_unit(*row->bound_seconds / row->seconds, Unit::percent) : "–",
         row->peer.empty() ? "–" : row->peer,
         row->peer_seconds ? text_with_unit(*row->peer_seconds / row->seconds, Unit::ratio) : "–"});
  }
  return table;
}

std::optional<Chart> squares_chart(const BenchFile& file, const std::string& id,
                                   std::vector<Headline>& headlines) {
  std::map<std::string, std::vector<const BenchRow*>> by_type;
  std::vector<std::string> types;  // in the order of the file
  std::vector<const BenchRow*> all;
  for (const BenchRow& row : file.rows) {
    const std::vector<double> e = row.extents();
    if (row.op != "gemm" || e.size() != 3 || row.more_of("gflops") <= 0) continue;
    if (e[0] != e[1] || e[1] != e[2]) continue;
    if (by_type[row.dtype].empty()) types.push_back(row.dtype);
    by_type[row.dtype].push_back(&row);
    all.push_back(&row);
  }
  if (all.empty()) return std::nullopt;
  Chart chart;
  chart.id = id + "-squares";
  chart.x = {"rows = columns = depth", Unit::count, true};
  chart.y = {"rate", Unit::flops, true};
  std::vector<std::string> shares;
  double largest = 0;
  for (const std::string& type : types) {
    auto& rows = by_type[type];
    std::sort(rows.begin(), rows.end(), [](const BenchRow* a, const BenchRow* b) {
      return a->extents()[0] < b->extents()[0];
    });
    Curve curve{type, tone_of_type(type), Curve::Form::line_and_points, {}};
    Curve peak{"peak, " + type, tone_of_type(type), Curve::Form::dashed, {}};
    const double top = rows.back()->more_of("peak_gflops") * 1e9;
    for (const BenchRow* row : rows) {
      curve.points.emplace_back(row->extents()[0], row->more_of("gflops") * 1e9);
      if (top > 0) peak.points.emplace_back(row->extents()[0], top);
    }
    largest = rows.back()->extents()[0];
    if (top > 0) {
      const double share = rows.back()->more_of("gflops") * 1e9 / top;
      shares.push_back(fmt::format("{} in {}", text_with_unit(share, Unit::percent), type));
      if (shares.size() == 1) {
        headlines.push_back({text_with_unit(share, Unit::percent),
                             fmt::format("of the measured peak: a {} product of {:.0f} cubed on {:.0f} thread{}",
                                         type, largest, rows.back()->more_of("threads"),
                                         rows.back()->more_of("threads") == 1 ? "" : "s"),
                             chart.id});
      }
    }
    chart.curves.push_back(std::move(curve));
    if (top > 0) chart.curves.push_back(std::move(peak));
  }
  chart.finding = shares.empty()
                      ? "Rates of square products by size"
                      : fmt::format("A product of {:.0f} cubed reaches {} of the measured peak",
                                    largest, listed(shares));
  chart.caption =
      fmt::format("One process, compute threads: {:.0f}; both axes logarithmic. Dashed: the peak, the best that a "
                  "loop in registers or any large product reached in the same run.",
                  all.front()->more_of("threads"));
  chart.tables = {table_of_products(all)};
  chart.sources = {id};
  return chart;
}

std::optional<Chart> few_rows_chart(const BenchFile& file, const std::string& id) {
  Chart chart;
  chart.id = id + "-rows";
  chart.x = {"speed, of the bound", Unit::percent, false};
  chart.reference = 1;
  chart.reference_name = "bound";
  std::vector<const BenchRow*> rows;
  double least = 1e300, most = 0;
  std::map<std::string, Tone> types;
  for (const BenchRow& row : file.rows) {
    const std::vector<double> e = row.extents();
    if (row.op != "gemm" || e.size() != 3 || e[0] > few_rows || !row.bound_seconds) continue;
    if (e[0] == e[1]) continue;
    rows.push_back(&row);
    const double share = *row.bound_seconds / row.seconds;
    least = std::min(least, share);
    most = std::max(most, share);
    std::string label = shape_text(row) + ", " + row.dtype;
    if (row.peer_seconds && !row.peer.empty()) {
      label += fmt::format(" ({} {})", row.peer.substr(0, row.peer.find(' ')),
                           text_with_unit(*row.bound_seconds / *row.peer_seconds, Unit::percent));
    }
    chart.bars.push_back({label, tone_of_type(row.dtype), share, ""});
    types.emplace(row.dtype, tone_of_type(row.dtype));
  }
  if (rows.empty()) return std::nullopt;
  for (const auto& [type, tone] : types) chart.bar_tones.emplace_back(type, tone);
  chart.finding = fmt::format("Products of few rows run at {} of what memory allows",
                              range_text(least, most, Unit::percent));
  chart.caption =
      "As they occur when text is generated: the weights are read once, which takes longer than to "
      "multiply. In parentheses the peer in the same turns.";
  chart.tables = {table_of_products(rows)};
  chart.sources = {id};
  return chart;
}

}  // namespace

Findings kernels_findings(const BenchFile& file, const std::string& id) {
  Findings out;
  if (auto chart = squares_chart(file, id, out.headlines)) {
    std::vector<const BenchRow*> rest;
    for (const BenchRow& row : file.rows) {
      const std::vector<double> e = row.extents();
      if (row.op != "gemm" || e.size() != 3) continue;
      if (e[0] > few_rows && (e[0] != e[1] || e[1] != e[2])) rest.push_back(&row);
    }
    if (!rest.empty()) {
      Table table = table_of_products(rest);
      table.title = "Other shapes";
      chart->tables.push_back(std::move(table));
    }
    out.charts.push_back(std::move(*chart));
  }
  if (auto chart = few_rows_chart(file, id)) out.charts.push_back(std::move(*chart));
  if (out.charts.empty()) out.gaps.push_back(id + ".json has no products that a chart could show.");
  return out;
}

Findings matmul_findings(const BenchFile& file, const std::string& id) {
  Findings out;
  Chart chart;
  chart.id = id + "-e";
  chart.x = {"E: speed over that of one process with the same cores", Unit::ratio, false};
  chart.reference = 1;
  chart.reference_name = "one process with all cores";
  chart.tables = {{"", {"size", "type", "time", "one process", "E", "peer", "peer / Shoal"}, {}}};
  double least = 1e300, most = 0;
  std::map<std::string, Tone> types;
  for (const BenchRow& row : file.rows) {
    if (row.op != "matmul" || !row.bound_seconds || row.extents().empty()) continue;
    const double e = *row.bound_seconds / row.seconds;
    least = std::min(least, e);
    most = std::max(most, e);
    types.emplace(row.dtype, tone_of_type(row.dtype));
    chart.bars.push_back(
        {fmt::format("{:.0f} cubed, {}", row.extents()[0], row.dtype), tone_of_type(row.dtype), e, ""});
    chart.tables[0].rows.push_back(
        {shape_text(row), row.dtype, text_with_unit(row.seconds, Unit::seconds),
         text_with_unit(*row.bound_seconds, Unit::seconds), text_with_unit(e, Unit::ratio),
         row.peer.empty() ? "–" : row.peer,
         row.peer_seconds ? text_with_unit(*row.peer_seconds / row.seconds, Unit::ratio) : "–"});
  }
  if (chart.bars.empty()) {
    out.gaps.push_back(id + ".json has no divided products.");
    return out;
  }
  for (const auto& [type, tone] : types) chart.bar_tones.emplace_back(type, tone);
  chart.finding = fmt::format(
      "Divided over {} ranks, products run at {} of the speed of one process with all their cores",
      file.ranks, range_text(least, most));
  chart.caption = fmt::format(
      "C = A B, all divided by rows over {} ranks. Above 1 dividing is quicker than threads.",
      file.ranks);
  chart.sources = {id};
  out.charts.push_back(std::move(chart));
  return out;
}

}  // namespace shoal::launch::report
