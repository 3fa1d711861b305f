#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "report/findings.hpp"

namespace shoal::launch::report {
namespace {

// "MPI (Open MPI v4.1.4, ...)" -> "Open MPI"; "Gloo (PyTorch 1.13) us" -> "Gloo".
std::string short_peer(std::string name) {
  if (name.starts_with("MPI (")) name.erase(0, 5);
  if (name.ends_with(" us")) name.erase(name.size() - 3);
  name.erase(std::min(name.find_first_of("(),"), name.size()));
  if (const auto version = name.find(" v"); version != std::string::npos) name.erase(version);
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return name;
}

std::string words_of(std::string operation) {
  std::replace(operation.begin(), operation.end(), '_', '-');
  return operation;
}

// Times by size: Shoal’s own choice, the bound, MPI, and other libraries.
struct Times {
  std::string mpi = "MPI";
  std::vector<const BenchRow*> rows;  // by size
  std::map<std::string, std::vector<std::pair<double, double>>> others;
  std::vector<double> mpi_ratios() const {
    std::vector<double> out;
    for (const BenchRow* row : rows) {
      if (row->peer_seconds) out.push_back(*row->peer_seconds / row->seconds);
    }
    return out;
  }
};

Times times_of(const BenchFile& file, const std::string& operation) {
  Times times;
  for (const BenchRow& row : file.rows) {
    if (row.op != operation || row.algorithm != "auto") continue;
    times.rows.push_back(&row);
    if (!row.peer.empty()) times.mpi = short_peer(row.peer);
    for (const auto& [name, us] : row.more) {
      if (!name.ends_with(" us") || name == "best forced MPI us" || us <= 0) continue;
      times.others[short_peer(name)].emplace_back(row.bytes.value_or(0), us * 1e-6);
    }
  }
  std::sort(times.rows.begin(), times.rows.end(), [](const BenchRow* a, const BenchRow* b) {
    return a->bytes.value_or(0) < b->bytes.value_or(0);
  });
  for (auto& [name, points] : times.others) std::sort(points.begin(), points.end());
  return times;
}

Table table_of(const Times& times) {
  Table table;
  table.heads = {"size", "Shoal", "bound", times.mpi};
  for (const auto& [name, points] : times.others) table.heads.push_back(name);
  table.heads.push_back(times.mpi + " / Shoal");
  for (const BenchRow* row : times.rows) {
    const auto seconds = [](const std::optional<double>& value) {
      return value ? text_with_unit(*value, Unit::seconds) : "–";
    };
    std::vector<std::string> cells = {text_with_unit(row->bytes.value_or(0), Unit::bytes),
                                      seconds(row->seconds), seconds(row->bound_seconds),
                                      seconds(row->peer_seconds)};
    for (const auto& [name, points] : times.others) {
      std::optional<double> found;
      for (const auto& [bytes, value] : points) {
        if (bytes == row->bytes.value_or(0)) found = value;
      }
      cells.push_back(seconds(found));
    }
    cells.push_back(row->peer_seconds
                        ? text_with_unit(*row->peer_seconds / row->seconds, Unit::ratio)
                        : "–");
    table.rows.push_back(std::move(cells));
  }
  return table;
}

std::string where_of(const BenchFile& file, bool lab) {
  return lab ? fmt::format("{} ranks on hosts of a lab", file.ranks)
             : fmt::format("{} ranks on one machine", file.ranks);
}

Chart time_chart(const BenchFile& file, const Times& times, const std::string& id, bool lab) {
  Chart chart;
  chart.id = id + "-time";
  chart.x = {"size of a rank’s buffer", Unit::bytes, true};
  chart.y = {"time", Unit::seconds, true};
  Curve ours{"Shoal", Tone::ours, Curve::Form::line_and_points, {}};
  Curve mpi{times.mpi, Tone::peer, Curve::Form::line_and_points, {}};
  Curve bound{"bound", Tone::bound, Curve::Form::dashed, {}};
  for (const BenchRow* row : times.rows) {
    const double bytes = row->bytes.value_or(0);
    ours.points.emplace_back(bytes, row->seconds);
    if (row->peer_seconds) mpi.points.emplace_back(bytes, *row->peer_seconds);
    if (row->bound_seconds) bound.points.emplace_back(bytes, *row->bound_seconds);
  }
  Tone tone = Tone::second_peer;
  std::vector<Curve> all = {std::move(ours), std::move(mpi)};
  for (const auto& [name, points] : times.others) {
    all.push_back({name, tone, Curve::Form::line_and_points, points});
    tone = Tone::third;
  }
  all.push_back(std::move(bound));
  for (Curve& curve : all) {
    if (!curve.points.empty()) chart.curves.push_back(std::move(curve));
  }
  const BenchRow& large = *times.rows.back();
  chart.finding = fmt::format("An all-reduce of {} takes {}",
                              text_with_unit(large.bytes.value_or(0), Unit::bytes),
                              text_with_unit(large.seconds, Unit::seconds));
  if (large.bound_seconds) {
    chart.finding += fmt::format(", {} times the bound",
                                 text_with_unit(large.seconds / *large.bound_seconds, Unit::ratio));
  }
  if (large.peer_seconds) {
    const double ratio = *large.peer_seconds / large.seconds;
    chart.finding += fmt::format("; {} takes {} times as long", times.mpi,
                                 text_with_unit(ratio, Unit::ratio));
  }
  chart.caption =
      fmt::format("{}, both axes logarithmic. The bound is what no algorithm can avoid: {}. Times are "
                  "medians of the slowest rank.",
                  where_of(file, lab),
                  lab ? "the bytes that a host’s link must carry"
                      : "the memory that all ranks must read and write, measured in turns with the rest");
  chart.tables = {table_of(times)};
  chart.sources = {id};
  return chart;
}

Chart ratio_chart(const BenchFile& file, const Times& times, const std::string& id, bool lab) {
  Chart chart;
  chart.id = id + "-ratio";
  chart.x = {"size of a rank’s buffer", Unit::bytes, true};
  chart.y = {"time, as a multiple of Shoal’s", Unit::ratio, true};
  chart.reference = 1;
  chart.reference_name = "Shoal";
  Curve mpi{times.mpi, Tone::peer, Curve::Form::line_and_points, {}};
  Curve bound{"bound", Tone::bound, Curve::Form::dashed, {}};
  for (const BenchRow* row : times.rows) {
    const double bytes = row->bytes.value_or(0);
    if (row->peer_seconds) mpi.points.emplace_back(bytes, *row->peer_seconds / row->seconds);
    if (row->bound_seconds) bound.points.emplace_back(bytes, *row->bound_seconds / row->seconds);
  }
  if (!mpi.points.empty()) chart.curves.push_back(std::move(mpi));
  Tone tone = Tone::second_peer;
  for (const auto& [name, points] : times.others) {
    Curve curve{name, tone, Curve::Form::line_and_points, {}};
    for (const BenchRow* row : times.rows) {
      for (const auto& [bytes, seconds] : points) {
        if (bytes == row->bytes.value_or(0)) curve.points.emplace_back(bytes, seconds / row->seconds);
      }
    }
    chart.curves.push_back(std::move(curve));
    tone = Tone::third;
  }
  if (!bound.points.empty()) chart.curves.push_back(std::move(bound));
  const std::vector<double> ratios = times.mpi_ratios();
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  chart.finding = fmt::format("{}’s all-reduce takes {} times as long as Shoal’s, {} in the median",
                              times.mpi, range_text(*least, *most),
                              text_with_unit(median_of(ratios), Unit::ratio));
  const auto behind = static_cast<std::size_t>(
      std::count_if(ratios.begin(), ratios.end(), [](double r) { return r < 1; }));
  if (behind > 0) {
    chart.finding += fmt::format("; it is quicker at {} of {} sizes", behind, ratios.size());
  }
  chart.caption = fmt::format("{}. Above the dotted line something takes longer than Shoal, below it "
                              "less; the bound cannot be beaten but for the noise of measuring.",
                              where_of(file, lab));
  chart.tables = {table_of(times)};
  chart.sources = {id};
  return chart;
}

std::optional<Chart> others_chart(const BenchFile& file, const std::string& id) {
  Chart chart;
  chart.id = id + "-others";
  chart.x = {"size of the longer buffer", Unit::bytes, true};
  chart.y = {"time of MPI, as a multiple of Shoal’s", Unit::ratio, true};
  chart.reference = 1;
  chart.reference_name = "Shoal";
  chart.tables = {{"", {"operation", "size", "Shoal", "bound", "MPI", "MPI / Shoal"}, {}}};
  const std::pair<const char*, Tone> operations[] = {{"reduce_scatter", Tone::first},
                                                     {"all_gather", Tone::second},
                                                     {"broadcast", Tone::third},
                                                     {"all_to_all", Tone::fourth}};
  std::vector<double> ratios;
  std::vector<std::string> names;
  std::string mpi = "MPI";
  for (const auto& [operation, tone] : operations) {
    const Times times = times_of(file, operation);
    Curve curve{words_of(operation), tone, Curve::Form::line_and_points, {}};
    for (const BenchRow* row : times.rows) {
      if (!row->peer_seconds) continue;
      const double ratio = *row->peer_seconds / row->seconds;
      curve.points.emplace_back(row->bytes.value_or(0), ratio);
      ratios.push_back(ratio);
      chart.tables[0].rows.push_back(
          {words_of(operation), text_with_unit(row->bytes.value_or(0), Unit::bytes),
           text_with_unit(row->seconds, Unit::seconds),
           row->bound_seconds ? text_with_unit(*row->bound_seconds, Unit::seconds) : "–",
           text_with_unit(*row->peer_seconds, Unit::seconds), text_with_unit(ratio, Unit::ratio)});
    }
    if (curve.points.empty()) continue;
    mpi = times.mpi;
    names.push_back(words_of(operation));
    chart.curves.push_back(std::move(curve));
  }
  if (chart.curves.empty()) return std::nullopt;
  const auto ahead = std::count_if(ratios.begin(), ratios.end(), [](double r) { return r > 1; });
  chart.finding = fmt::format("For {} {} takes {} times as long in the median; Shoal is quicker in {} "
                              "of {} cases",
                              listed(names), mpi, text_with_unit(median_of(ratios), Unit::ratio), ahead,
                              ratios.size());
  chart.caption = where_of(file, false) + ".";
  const Times barrier = times_of(file, "barrier");
  if (!barrier.rows.empty() && barrier.rows.front()->peer_seconds) {
    const BenchRow& row = *barrier.rows.front();
    chart.caption += fmt::format(" A barrier takes {}, {}’s {}.",
                                 text_with_unit(row.seconds, Unit::seconds), mpi,
                                 text_with_unit(*row.peer_seconds, Unit::seconds));
    chart.tables[0].rows.push_back({"barrier", "–", text_with_unit(row.seconds, Unit::seconds), "–",
                                    text_with_unit(*row.peer_seconds, Unit::seconds),
                                    text_with_unit(*row.peer_seconds / row.seconds, Unit::ratio)});
  }
  chart.sources = {id};
  return chart;
}

}  // namespace

Findings collectives_findings(const BenchFile& file, const std::string& id, bool lab) {
  Findings out;
  const Times times = times_of(file, "all_reduce");
  if (times.rows.empty()) {
    out.gaps.push_back(id + ".json has no all-reduce of Shoal’s own choice.");
    return out;
  }
  out.charts.push_back(time_chart(file, times, id, lab));
  const std::vector<double> ratios = times.mpi_ratios();
  if (!ratios.empty()) {
    out.charts.push_back(ratio_chart(file, times, id, lab));
    out.headlines.push_back(
        {text_with_unit(median_of(ratios), Unit::ratio) + " ×",
         fmt::format("{}’s time for an all-reduce{}, over Shoal’s: the median over sizes", times.mpi,
                     lab ? " between hosts of the lab" : ""),
         id + "-ratio"});
  }
  const BenchRow& large = *times.rows.back();
  if (large.bound_seconds) {
    out.headlines.push_back(
        {text_with_unit(*large.bound_seconds / large.seconds, Unit::percent),
         fmt::format("of the bound’s speed: an all-reduce of {}{}",
                     text_with_unit(large.bytes.value_or(0), Unit::bytes),
                     lab ? " between hosts of the lab" : ""),
         id + "-time"});
  }
  if (!lab) {
    if (const auto chart = others_chart(file, id)) out.charts.push_back(*chart);
    if (times.others.empty()) {
      out.gaps.push_back(
          "No library but MPI was there to compare with: Gloo comes with PyTorch (python3-torch), "
          "MPICH with the package mpich.");
    }
  }
  return out;
}

}  // namespace shoal::launch::report
