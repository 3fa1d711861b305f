// What a chart shows, apart from how it is drawn.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace shoal::launch::report {

/// What the numbers of an axis are; decides how they are written.
enum class Unit { bytes, seconds, flops, tokens, ratio, percent, count };

/// "64 KiB", "12.3 µs", "1.2 TFLOP/s", "3.4 k", "1.25", "45 %": three digits.
std::string text_with_unit(double value, Unit unit);

struct Axis {
  std::string label;
  Unit unit = Unit::count;
  bool logarithmic = false;
};

/// The colour of a series, by what it is: the same thing has the same colour in every chart.
enum class Tone { ours, peer, second_peer, bound, first, second, third, fourth, fifth };
inline constexpr int tones = 9;

/// A series of a chart with two axes.
struct Curve {
  enum class Form { line, dashed, points, line_and_points };
  std::string name;
  Tone tone = Tone::ours;
  Form form = Form::line_and_points;
  std::vector<std::pair<double, double>> points;  ///< ascending in x

  /// Whether its points are drawn: a single one always is, since no line shows it.
  bool has_dots() const noexcept;
};

/// A bar of a chart of bars, with its label above it.
struct Bar {
  std::string label;
  Tone tone = Tone::ours;
  double value = 0;
  std::string text;  ///< at its end; empty: the value with its unit
};

/// Numbers behind a chart. Every row has as many cells as there are heads.
struct Table {
  std::string title;
  std::vector<std::string> heads;
  std::vector<std::vector<std::string>> rows;
};

/// A chart is one of curves, or one of bars.
struct Chart {
  std::string id;       ///< letters, digits and dashes; unique in a page
  std::string finding;  ///< its title: what it shows, in a sentence made from the data
  std::string caption;
  Axis x, y;            ///< of bars: x alone counts
  std::vector<Curve> curves;  ///< in the order of the legend; the first lies on top
  std::vector<Bar> bars;
  std::vector<std::pair<std::string, Tone>> bar_tones;  ///< what the colours of the bars mean
  std::optional<double> reference;  ///< a line at this value of y, or of x with bars
  std::string reference_name;
  std::vector<Table> tables;
  std::vector<std::string> sources;  ///< ids of the measurements that it is drawn from

  std::size_t point_count() const noexcept;
};

}  // namespace shoal::launch::report
