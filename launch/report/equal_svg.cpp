#include "report/equal_svg.hpp"

#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

#include "report/gnuplot.hpp"
#include "report/page.hpp"
#include "report/svg.hpp"

namespace shoal::launch::report {
namespace {

constexpr std::size_t title_columns = 84;
constexpr int line_pixels = 22, chart_width = 760, chart_pixels = 360;

std::vector<std::string> title_lines(const std::string& text) {
  std::vector<std::string> lines(1);
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (!lines.back().empty() && lines.back().size() + word.size() >= title_columns) {
      lines.emplace_back();
    }
    lines.back() += (lines.back().empty() ? "" : " ") + word;
  }
  return lines;
}

}  // namespace

void write_equal_svg(const std::string& equal_json, const std::string& path) {
  const EqualFile file = parse_equal(equal_json, "shoal equal");
  const std::optional<Chart> chart = equal_curve(file, "equal");
  if (!chart) {
    throw UsageError("--svg " + path,
                     fmt::format("there is nothing to draw: {} fits on no number of {} that was tried",
                                 file.model, file.node),
                     "choose a smaller model, or --most with more nodes");
  }
  const std::string drawing = draw({*chart}).front().wide;
  // A drawing within a drawing has a size and a place of its own.
  const std::size_t inside = drawing.find('>') + 1;
  std::string text;
  int y = 26;
  for (const std::string& line : title_lines(chart->finding)) {
    text += fmt::format("<text x=\"12\" y=\"{}\" style=\"font-size:15px;font-weight:600\">{}</text>\n", y,
                        escaped_text(line));
    y += line_pixels;
  }
  std::vector<std::pair<std::string, std::string>> keys;
  for (const Curve& curve : chart->curves) {
    keys.emplace_back(fmt::format("class=\"t{}\"", static_cast<int>(curve.tone)), curve.name);
  }
  if (chart->reference) {
    keys.emplace_back("class=\"reference\" stroke-dasharray=\"2 4\"", chart->reference_name);
  }
  for (const auto& [look, name] : keys) {
    text += fmt::format("<path {} stroke-width=\"2.5\" d=\"M12,{} L38,{}\"/>"
                        "<text x=\"48\" y=\"{}\">{}</text>\n",
                        look, y - 4, y - 4, y, escaped_text(name));
    y += line_pixels;
  }
  text += fmt::format("<text x=\"12\" y=\"{}\">↑ {}</text>\n", y, escaped_text(chart->y.label));
  const int height = y + 8 + chart_pixels;
  std::ofstream out(path, std::ios::binary);
  out << fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "role=\"img\" font-family=\"system-ui, sans-serif\">\n<style>{2}</style>\n"
      "<rect width=\"100%\" height=\"100%\" style=\"fill:var(--paper)\"/>\n{3}"
      "<svg x=\"0\" y=\"{4}\" width=\"{0}\" height=\"{5}\" viewBox=\"0 0 {0} {5}\">{6}\n</svg>\n",
      chart_width, height, page_style(), text, y + 8, chart_pixels, drawing.substr(inside));
  out.close();
  if (!out) {
    throw UsageError("--svg " + path, "it cannot be written",
                     "name a file in a folder that exists, on a disk with room");
  }
}

}  // namespace shoal::launch::report
