#include "report/gnuplot.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

#include "process.hpp"
#include "report/svg.hpp"
#include "report/ticks.hpp"

namespace shoal::launch::report {
namespace {

constexpr int wide_pixels = 760, narrow_pixels = 350;
constexpr int curve_height = 360, narrow_curve_height = 320;
constexpr int bar_pixels = 44;  // a bar and the label over it

// A folder that is gone at the end.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "shoal-report-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) {
      throw Error("report", "no folder can be made in " +
                                std::filesystem::temp_directory_path().string(),
                  "set TMPDIR to one with room");
    }
    path_ = pattern;
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return path_ + '/' + name; }

 private:
  std::string path_;
};

// In gnuplot's quotes nothing but the quote itself means anything.
std::string gnuplot_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c == '\n' ? ' ' : c;
  }
  return out + "'";
}

std::string colour_of(int code) { return fmt::format("rgb '#{:06x}'", code); }
std::string colour_of(Tone tone) { return colour_of(first_tone_code + static_cast<int>(tone)); }

std::string tics(const Scale& scale, Unit unit) {
  std::string out;
  for (const double tick : scale.ticks) {
    std::string text = text_with_unit(tick, unit);
    if (text.ends_with('%')) text += '%';  // a tick's text is a format
    out += fmt::format("{}{} {:.12g}", out.empty() ? "" : ", ", gnuplot_quoted(text), tick);
  }
  return "(" + out + ")";
}

std::string head_of(int width, int height, const std::string& output) {
  return fmt::format(
      "reset\nset encoding utf8\n"
      "set term svg noenhanced dynamic size {},{} font 'sans,13' name 'chart'\n"
      "set output {}\nset key off\nset tics nomirror scale 0.5 textcolor {}\n",
      width, height, gnuplot_quoted(output), colour_of(text_code));
}

void widen(const Axis& axis, double& least, double& most) {
  if (!axis.logarithmic) return;
  const double margin = std::pow(most / least, 0.03);
  least /= margin;
  most *= margin;
  if (most <= least * 1.01) {
    least /= 2;
    most *= 2;
  }
}

std::string script_of_curves(const Chart& chart, int width, const std::string& output) {
  const bool narrow = width < wide_pixels;
  double left = 1e300, right = -1e300, least = 1e300, most = -1e300;
  for (const Curve& curve : chart.curves) {
    for (const auto& [x, y] : curve.points) {
      left = std::min(left, x);
      right = std::max(right, x);
      least = std::min(least, y);
      most = std::max(most, y);
    }
  }
  if (chart.reference) {
    least = std::min(least, *chart.reference);
    most = std::max(most, *chart.reference);
  }
  widen(chart.x, left, right);
  widen(chart.y, least, most);
  if (!chart.y.logarithmic) most *= 1.04;
  const Scale x = scale_for(chart.x, left, right, narrow ? 4 : 8);
  const Scale y = scale_for(chart.y, least, most, 6);
  std::string out = head_of(width, narrow ? narrow_curve_height : curve_height, output);
  out += fmt::format("set border 1 lc {}\nset grid ytics lt 1 lc {}\n", colour_of(axis_code),
                     colour_of(grid_code));
  if (chart.x.logarithmic) out += "set logscale x\n";
  if (chart.y.logarithmic) out += "set logscale y\n";
  out += fmt::format("set xrange [{:.12g}:{:.12g}]\nset yrange [{:.12g}:{:.12g}]\n", x.low, x.high,
                     y.low, y.high);
  out += fmt::format("set xtics {}\nset ytics {}\n", tics(x, chart.x.unit), tics(y, chart.y.unit));
  out += fmt::format("set xlabel {} textcolor {}\nset rmargin 3\n", gnuplot_quoted(chart.x.label),
                     colour_of(text_code));
  for (std::size_t i = 0; i < chart.curves.size(); ++i) {
    out += fmt::format("$d{} << EOD\n", i);
    for (const auto& [px, py] : chart.curves[i].points) {
      out += fmt::format("{:.12g} {:.12g}\n", px, py);
    }
    out += "EOD\n";
  }
  std::string plots;
  // The first one on top. svg.cpp counts on this order.
  for (std::size_t i = chart.curves.size(); i-- > 0;) {
    const Curve& curve = chart.curves[i];
    const char* how = "with linespoints pt 7 ps 0.55 lw 2.2";
    if (curve.form == Curve::Form::points || curve.points.size() == 1) how = "with points pt 7 ps 0.85";
    if (!curve.has_dots()) how = "with lines lw 2.2";
    if (!curve.has_dots() && curve.form == Curve::Form::dashed) how = "with lines lw 2 dt (6,5)";
    plots += fmt::format("{}$d{} using 1:2 {} lc {}", plots.empty() ? "" : ", ", i, how,
                         colour_of(curve.tone));
  }
  // Last, so that the plots before it are numbered as the curves are.
  if (chart.reference) {
    plots += fmt::format(", {:.12g} with lines lw 1.5 dt (2,4) lc {}", *chart.reference,
                         colour_of(reference_code));
  }
  return out + "plot " + plots + '\n';
}

std::string script_of_bars(const Chart& chart, int width, const std::string& output) {
  const bool narrow = width < wide_pixels;
  const auto count = static_cast<int>(chart.bars.size());
  double least = 1e300, most = 0;
  for (const Bar& bar : chart.bars) {
    if (bar.value > 0) least = std::min(least, bar.value);
    most = std::max(most, bar.value);
  }
  if (chart.reference) {
    least = std::min(least, *chart.reference);
    most = std::max(most, *chart.reference);
  }
  if (least > most) least = most = 1;
  Scale x;
  if (chart.x.logarithmic) {
    x = scale_for(chart.x, least / 2, most * 1.2, narrow ? 3 : 6);
  } else {
    x = scale_for(chart.x, 0, most, narrow ? 3 : 6);
  }
  std::string out = head_of(width, count * bar_pixels + 58, output);
  out += fmt::format("set border 0\nset grid xtics lt 1 lc {}\nset style fill solid noborder\n",
                     colour_of(grid_code));
  if (chart.x.logarithmic) out += "set logscale x\n";
  out += fmt::format("set xrange [{:.12g}:{:.12g}]\nset yrange [{}:{}]\n", x.low, x.high,
                     0.45 - count, 0.62);
  out += fmt::format("set xtics {}\nunset ytics\nset xlabel {} textcolor {}\n",
                     tics(x, chart.x.unit), gnuplot_quoted(chart.x.label), colour_of(text_code));
  out += fmt::format("set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\n", 6.0 / width,
                     1 - (narrow ? 74.0 : 96.0) / width);
  std::string plots;
  for (int i = 0; i < count; ++i) {
    const Bar& bar = chart.bars[static_cast<std::size_t>(i)];
    const std::string shown = bar.text.empty() ? text_with_unit(bar.value, chart.x.unit) : bar.text;
    const double end = std::max(bar.value, x.low);
    out += fmt::format("$d{} << EOD\n{:.12g} {}\nEOD\n", i, end, -i);
    // The label above the bar, so that long names have room on a phone.
    out += fmt::format("set label {} at first {:.12g},{:.3f} left front textcolor {}\n",
                       gnuplot_quoted(bar.label), x.low, 0.41 - i, colour_of(text_code));
    out += fmt::format("set label {} at first {:.12g},{} left offset 0.6,0 front textcolor {}\n",
                       gnuplot_quoted(shown), end, -i, colour_of(text_code));
    plots += fmt::format("{}$d{} using ({:.12g}):2:({:.12g}):1:($2-0.16):($2+0.16) with boxxyerror lc {}",
                         plots.empty() ? "" : ", ", i, x.low, x.low, colour_of(bar.tone));
  }
  if (chart.reference) {
    out += fmt::format("set arrow from first {0:.12g}, graph 0 to first {0:.12g}, graph 1 nohead "
                       "back lw 1.5 dt (2,4) lc {1}\n",
                       *chart.reference, colour_of(reference_code));
  }
  return out + "plot " + plots + '\n';
}

std::string whole_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

std::string script_for(const Chart& chart, int width, const std::string& output) {
  return chart.bars.empty() ? script_of_curves(chart, width, output)
                            : script_of_bars(chart, width, output);
}

std::vector<Drawing> draw(const std::vector<Chart>& charts) {
  if (charts.empty()) return {};
  const ScratchFolder folder;
  std::string script;
  const auto name_of = [&](std::size_t number, const char* kind) {
    return folder.file(fmt::format("{}-{}.svg", number, kind));
  };
  for (std::size_t i = 0; i < charts.size(); ++i) {
    script += script_for(charts[i], wide_pixels, name_of(i, "wide"));
    script += script_for(charts[i], narrow_pixels, name_of(i, "narrow"));
  }
  script += "set output\n";
  std::ofstream(folder.file("script"), std::ios::binary) << script;
  const Captured run = capture({"gnuplot", folder.file("script")}, std::chrono::seconds(60));
  if (run.status == 127) {
    throw Error("report", "gnuplot is not there, so that there are no charts",
                "install it (Debian: gnuplot-nox) and draw again with --from");
  }
  if (run.status != 0) {
    std::string what = run.errors.substr(0, 300);
    std::replace(what.begin(), what.end(), '\n', ' ');
    throw Error("report",
                run.status < 0 ? "gnuplot did not end within 60 s"
                               : fmt::format("gnuplot ended with status {}: {}", run.status, what),
                "see whether gnuplot 5 works by itself");
  }
  std::vector<Drawing> out;
  for (std::size_t i = 0; i < charts.size(); ++i) {
    out.push_back({svg_for_page(whole_file(name_of(i, "wide")), charts[i], "wide"),
                   svg_for_page(whole_file(name_of(i, "narrow")), charts[i], "narrow")});
  }
  return out;
}

}  // namespace shoal::launch::report
