#include "collectives/plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include <fmt/format.h>

namespace shoal::bench {
namespace {

// Places, in pixels.
constexpr double width = 1180, row_height = 380, top = 52;
constexpr double panel_width = 400, panel_height = 270;
constexpr double left_of_time = 76, left_of_rate = 560, left_of_legend = 980;

// Colours that the colour-blind can tell apart (Okabe & Ito 2008), then the same with other dashes.
constexpr std::array colours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                "#e69f00", "#56b4e9", "#7f6000"};
constexpr std::array dashes = {"", "7 3", "2 3"};

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

std::string size_label(double bytes) {
  for (const char* unit : {"B", "KiB", "MiB", "GiB"}) {
    if (bytes < 1024) return fmt::format("{:.4g} {}", bytes, unit);
    bytes /= 1024;
  }
  return fmt::format("{:.4g} TiB", bytes);
}

// The value with the unit of its thousand.
std::string decade_label(double value, const std::array<const char*, 5>& units) {
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.3g} {}", value, units[unit]);
}

// A range of powers of `base`, and where its values lie between two places.
class Axis {
 public:
  Axis(double base, double low, double high, double from, double to)
      : base_(base), from_(from), to_(to) {
    first_ = std::floor(std::log(low) / std::log(base) + 1e-9);
    last_ = std::ceil(std::log(high) / std::log(base) - 1e-9);
    if (last_ <= first_) last_ = first_ + 1;
  }
  double place(double value) const {
    const double power = std::log(value) / std::log(base_);
    return from_ + (to_ - from_) * (power - first_) / (last_ - first_);
  }
  /// Powers of the base, every so many that no more than `most` are drawn.
  std::vector<double> ticks(int most) const {
    const double step = std::max(1.0, std::ceil((last_ - first_) / most));
    std::vector<double> out;
    for (double power = first_; power <= last_ + 1e-9; power += step) {
      out.push_back(std::pow(base_, power));
    }
    return out;
  }

 private:
  double base_, from_, to_, first_, last_;
};

struct Look {
  std::string colour, dash;
  double thickness;
  bool dots;
};

Look look_of(const Series& series, std::size_t number) {
  if (series.kind == Series::Kind::bound) return {"#000000", "3 3", 2.2, false};
  if (series.kind == Series::Kind::peer) {
    constexpr std::array greys = {"#555555", "#999999", "#bbbbbb"};
    return {greys[number % greys.size()], "9 4", 2.0, true};
  }
  return {colours[number % colours.size()],
          dashes[number / colours.size() % dashes.size()],
          series.name == "auto" ? 3.0 : 1.6, true};
}

std::string line_attributes(const Look& look) {
  std::string text = fmt::format("fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"", look.colour,
                                 look.thickness);
  if (!look.dash.empty()) text += fmt::format(" stroke-dasharray=\"{}\"", look.dash);
  return text;
}

using Value = std::function<double(double bytes, double seconds)>;

// One set of axes with its curves.
std::string axes(const Panel& panel, double left, double above, const Value& value,
                 const std::string& label, const std::array<const char*, 5>& units) {
  double low = 1e300, high = 0, least = 1e300, most = 0;
  for (const Series& series : panel.series) {
    for (const auto& [bytes, seconds] : series.points) {
      least = std::min(least, bytes);
      most = std::max(most, bytes);
      low = std::min(low, value(bytes, seconds));
      high = std::max(high, value(bytes, seconds));
    }
  }
  if (most <= 0) return {};
  const double bottom = above + panel_height;
  const Axis x(2, least, most, left, left + panel_width);
  const Axis y(10, low, high, bottom, above);
  std::string out;
  for (const double tick : x.ticks(8)) {
    const double at = x.place(tick);
    out += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\"/>\n",
                       at, above, bottom);
    out += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", at,
                       bottom + 17, size_label(tick));
  }
  for (const double tick : y.ticks(9)) {
    const double at = y.place(tick);
    out += fmt::format("<line class=\"grid\" x1=\"{0}\" y1=\"{1:.1f}\" x2=\"{2}\" y2=\"{1:.1f}\"/>\n",
                       left, at, left + panel_width);
    out += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left - 7,
                       at + 4, decade_label(tick, units));
  }
  out += fmt::format(
      "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#444\"/>\n", left,
      above, panel_width, panel_height);
  out += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">size (bytes)</text>\n",
                     left + panel_width / 2, bottom + 37);
  out += fmt::format("<text x=\"{}\" y=\"{}\" class=\"label\">{}</text>\n", left, above - 8, label);
  std::size_t number = 0;
  for (const Series& series : panel.series) {
    const Look look = look_of(series, number);
    if (series.kind != Series::Kind::bound) ++number;
    std::string points, dots;
    for (const auto& [bytes, seconds] : series.points) {
      const double px = x.place(bytes);
      const double py = y.place(value(bytes, seconds));
      points += fmt::format("{:.1f},{:.1f} ", px, py);
      if (look.dots) {
        dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.4\" fill=\"{}\"/>\n", px, py,
                            look.colour);
      }
    }
    out += fmt::format("<polyline points=\"{}\" {}/>\n{}", points, line_attributes(look), dots);
  }
  return out;
}

std::string legend(const Panel& panel, double above) {
  std::string out;
  std::size_t number = 0;
  double y = above + 8;
  for (const Series& series : panel.series) {
    const Look look = look_of(series, number);
    if (series.kind != Series::Kind::bound) ++number;
    out += fmt::format("<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" {}/>\n", left_of_legend, y,
                       left_of_legend + 34, y, line_attributes(look));
    out += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>\n", left_of_legend + 42, y + 4,
                       escaped(series.name));
    y += 20;
  }
  return out;
}

}  // namespace

std::string plot_svg(const std::vector<Panel>& panels) {
  const double height = row_height * static_cast<double>(panels.size()) + 12;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\">\n"
      "<style>text {{ font: 12px sans-serif; fill: #222 }} .title {{ font-size: 15px; font-weight: "
      "bold }} .label {{ font-style: italic }} .grid {{ stroke: #ddd; stroke-width: 1 }}</style>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      width, height);
  double above = 0;
  for (const Panel& panel : panels) {
    out += fmt::format("<text x=\"{}\" y=\"{}\" class=\"title\">{}</text>\n", left_of_time,
                       above + 22, escaped(panel.title));
    out += axes(
        panel, left_of_time, above + top, [](double, double seconds) { return seconds * 1e9; },
        "time (the lower the better)", {"ns", "&#181;s", "ms", "s", "ks"});
    out += axes(
        panel, left_of_rate, above + top,
        [](double bytes, double seconds) { return bytes / seconds; },
        "bandwidth = size / time (the higher the better)", {"B/s", "kB/s", "MB/s", "GB/s", "TB/s"});
    out += legend(panel, above + top);
    above += row_height;
  }
  return out + "</svg>\n";
}

}  // namespace shoal::bench
