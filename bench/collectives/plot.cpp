#include "collectives/plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

#include "collectives/child.hpp"

namespace shoal::bench {
namespace {

// In pixels: two panels side by side, and the names of the curves beside them.
constexpr int plot_width = 1180, row_height = 400;
constexpr double right_of_rate = 0.79;

// Colours that the colour-blind can tell apart (Okabe & Ito 2008), then the same with other dashes.
constexpr std::array colours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                "#e69f00", "#56b4e9", "#7f6000"};
constexpr std::array dashes = {"1", "(14,6)", "(4,6)"};

// In gnuplot's quotes nothing but the quote itself means anything.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c == '\n' ? ' ' : c;
  }
  return out + "'";
}

std::string look_of(const Series& series, std::size_t number) {
  if (series.kind == Series::Kind::bound) return "with lines lw 2.2 dt (6,6) lc rgb '#000000'";
  if (series.kind == Series::Kind::peer) {
    constexpr std::array greys = {"#555555", "#999999", "#bbbbbb"};
    return fmt::format("with linespoints pt 7 ps 0.4 lw 2 dt (18,8) lc rgb '{}'",
                       greys[number % greys.size()]);
  }
  return fmt::format("with linespoints pt 7 ps 0.4 lw {} dt {} lc rgb '{}'",
                     series.name == "auto" ? 3.0 : 1.6, dashes[number / colours.size() % dashes.size()],
                     colours[number % colours.size()]);
}

// Marks of the sizes at powers of two, eight at most. (gnuplot's own prefixes leave a gap where there is none.)
std::string size_marks(const std::vector<Panel>& panels) {
  double least = 1e300, most = 1;
  for (const Panel& panel : panels) {
    for (const Series& series : panel.series) {
      if (series.points.empty()) continue;
      least = std::min(least, series.points.front().first);
      most = std::max(most, series.points.back().first);
    }
  }
  constexpr int most_marks = 8;
  const int first = std::max(0, static_cast<int>(std::ceil(std::log2(least))));
  const int last = static_cast<int>(std::log2(most));
  const int step = std::max(1, (last - first + most_marks) / most_marks);
  std::string out = "set xtics (";
  for (int power = first; power <= last; power += step) {
    constexpr std::array prefixes = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    const auto prefix = static_cast<std::size_t>(power / 10);
    out += fmt::format("{}'{} {}B' {}", power == first ? "" : ", ", 1 << power % 10,
                       prefixes[std::min(prefix, prefixes.size() - 1)], std::exp2(power));
  }
  return out + ") rotate by -30\n";
}

// One set of axes; `value` in gnuplot's words, of bytes $1 and seconds $2.
std::string axes(const Panel& panel, std::size_t row, const std::string& value,
                 const std::string& label, const std::string& unit) {
  std::string out = fmt::format("set label 2 {} at graph 0,1.04\nset format y '%.0s %c{}'\nplot ",
                                quoted(label), unit);
  std::size_t number = 0;
  for (std::size_t i = 0; i < panel.series.size(); ++i) {
    const Series& series = panel.series[i];
    out += fmt::format("{}$d{}_{} using 1:({}) {} title {}", i == 0 ? "" : ", ", row, i, value,
                       look_of(series, number), quoted(series.name));
    if (series.kind != Series::Kind::bound) ++number;
  }
  return out + '\n';
}

}  // namespace

std::string plot_script(const std::vector<Panel>& panels, const std::string& file) {
  const bool png = file.ends_with(".png");
  std::string out = fmt::format(
      "set encoding utf8\nset term {} noenhanced size {},{} font 'sans,{}' background rgb 'white'\n"
      "set output {}\n",
      png ? "pngcairo" : "svg", plot_width, row_height * std::max<std::size_t>(panels.size(), 1),
      png ? 9 : 12, quoted(file));
  for (std::size_t row = 0; row < panels.size(); ++row) {
    for (std::size_t i = 0; i < panels[row].series.size(); ++i) {
      out += fmt::format("$d{}_{} << EOD\n", row, i);
      for (const auto& [bytes, seconds] : panels[row].series[i].points) {
        out += fmt::format("{:.12g} {:.12g}\n", bytes, seconds);
      }
      out += "EOD\n";
    }
  }
  out += fmt::format("set multiplot layout {},2\n", std::max<std::size_t>(panels.size(), 1));
  out +=
      "set tmargin 4\nset logscale x 2\nset logscale y\nset grid lc rgb '#dddddd'\nset xlabel 'size'\n";
  out += size_marks(panels);
  for (std::size_t row = 0; row < panels.size(); ++row) {
    const Panel& panel = panels[row];
    if (panel.series.empty()) continue;
    out += "unset key\nset lmargin 10\nset rmargin at screen 0.47\n";
    out += fmt::format("set label 1 {} at graph 0,1.12 font ',15'\n", quoted(panel.title));
    out += axes(panel, row, "$2", "time (the lower the better)", "s");
    out += fmt::format(
        "unset label 1\nset key at screen 0.99, graph 1 right top Left reverse\n"
        "set lmargin at screen 0.56\nset rmargin at screen {}\n",
        right_of_rate);
    out += axes(panel, row, "$1/$2", "size / time (the higher the better)", "B/s");
  }
  return out + "unset multiplot\nset output\n";
}

void require_plotter() {
  const ChildResult asked = run_child({"gnuplot", "--version"}, Seconds(60), true);
  if (!asked.good) {
    throw Error("--plot", "gnuplot, which draws it, does not run: " + asked.problem,
                "install it (Debian: gnuplot-nox), or leave out --plot");
  }
}

void write_plot(const std::vector<Panel>& panels, const std::string& file) {
  const std::string script = file + ".gnuplot";
  std::ofstream out(script);
  out << plot_script(panels, file);
  out.close();
  if (!out) throw Error("--plot", "cannot write " + script, "is the disk full?");
  const ChildResult drawn = run_child({"gnuplot", script}, Seconds(60), true);
  std::remove(script.c_str());
  if (!drawn.good) throw Error("--plot", "gnuplot: " + drawn.problem, "see whether gnuplot 5 works by itself");
}

}  // namespace shoal::bench
