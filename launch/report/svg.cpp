#include "report/svg.hpp"

#include <cstdlib>
#include <map>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

namespace shoal::launch::report {
namespace {

// A tag with what it says; gnuplot writes neither comments nor CDATA, nor '>' within quotes.
struct Tag {
  std::string name;
  bool closes = false, empty = false;
  std::map<std::string, std::string> attributes;

  std::string get(const char* key) const {
    const auto found = attributes.find(key);
    return found == attributes.end() ? std::string() : found->second;
  }
};

Tag parse_tag(std::string_view text) {
  Tag tag;
  std::size_t at = 0;
  if (!text.empty() && text[0] == '/') {
    tag.closes = true;
    at = 1;
  }
  if (!text.empty() && text.back() == '/') {
    tag.empty = true;
    text.remove_suffix(1);
  }
  constexpr std::string_view space = " \t\r\n";
  const auto name_end = std::min(text.find_first_of(space, at), text.size());
  tag.name = text.substr(at, name_end - at);
  at = name_end;
  while (at < text.size()) {
    at = text.find_first_not_of(space, at);
    const auto equals = at == std::string_view::npos ? at : text.find('=', at);
    if (equals == std::string_view::npos) break;
    std::string key(text.substr(at, equals - at));
    key.erase(key.find_last_not_of(space) + 1);
    const auto open = text.find_first_of("'\"", equals);
    if (open == std::string_view::npos) break;
    const auto close = text.find(text[open], open + 1);
    if (close == std::string_view::npos) break;
    std::string value(text.substr(open + 1, close - open - 1));
    for (char& c : value) {
      if (c == '\n' || c == '\t' || c == '\r') c = ' ';
    }
    while (!value.empty() && value.back() == ' ') value.pop_back();
    tag.attributes[key] = value;
    at = close + 1;
  }
  return tag;
}

// "rgb(  5,   5,   1)" as a class of the style sheet; empty: none of ours.
std::string class_of(const std::string& colour) {
  int red = 0, green = 0, blue = 0;
  if (std::sscanf(colour.c_str(), "rgb( %d , %d , %d )", &red, &green, &blue) != 3) return {};
  const int code = red << 16 | green << 8 | blue;
  if (code == text_code) return "ink";
  if (code == axis_code) return "axis";
  if (code == grid_code) return "grid";
  if (code == reference_code) return "reference";
  if (code >= first_tone_code && code < first_tone_code + tones) {
    return fmt::format("t{}", code - first_tone_code);
  }
  return {};
}

// Walks through the drawing once and writes down what it paints.
class SvgCleaner {
 public:
  SvgCleaner(const std::string& in, const Chart& chart, const std::string& kind)
      : in_(in), chart_(chart), kind_(kind) {}

  std::string run() {
    for (std::size_t at = in_.find('<'); at != std::string::npos; at = in_.find('<', at)) {
      const std::size_t end = in_.find('>', at);
      if (end == std::string::npos) break;
      if (in_[at + 1] != '?' && in_[at + 1] != '!') {
        const Tag tag = parse_tag(std::string_view(in_).substr(at + 1, end - at - 1));
        const std::size_t text_end = std::min(in_.find('<', end), in_.size());
        take(tag, in_.substr(end + 1, text_end - end - 1));
      }
      at = end + 1;
    }
    if (view_box_.empty() || drawn_ != chart_.point_count()) {
      throw Error("report",
                  fmt::format("gnuplot drew {} of the {} points of chart {}", drawn_,
                              chart_.point_count(), chart_.id),
                  "this is an error of Shoal: please report it with the output of gnuplot --version");
    }
    return fmt::format(
        "<svg class=\"{}\" viewBox=\"{}\" role=\"img\" aria-label=\"{}\">\n<title>{}</title>\n{}</svg>",
        kind_, view_box_, escaped_text(chart_.finding), escaped_text(chart_.finding), out_);
  }

 private:
  void take(const Tag& tag, const std::string& text) {
    if (tag.name == "svg") {
      if (!tag.closes) view_box_ = tag.get("viewBox");
    } else if (tag.name == "defs") {
      in_defs_ = !tag.closes;
    } else if (in_defs_) {
      return;
    } else if (tag.name == "g") {
      group(tag);
    } else if (tag.name == "path") {
      path(tag);
    } else if (tag.name == "use") {
      point(tag);
    } else if (tag.name == "polygon") {
      bar(tag);
    } else if (tag.name == "text" && !tag.closes) {
      const Tag& place = groups_.back();
      out_ += fmt::format("<text transform=\"{}\" text-anchor=\"{}\">{}</text>\n",
                          place.get("transform"), place.get("text-anchor"), text);
    }
  }

  void group(const Tag& tag) {
    if (tag.closes) {
      if (groups_.empty()) return;
      if (groups_.back().get("id").starts_with("chart_plot_")) end_series();
      groups_.pop_back();
      return;
    }
    groups_.push_back(tag);
    const std::string id = tag.get("id");
    if (id.starts_with("chart_plot_")) begin_series(std::atoi(id.c_str() + 11));
  }

  void begin_series(int number) {
    series_ = static_cast<std::size_t>(number) - 1;
    next_ = 0;
    if (series_ < chart_.curves.size()) {
      series_ = chart_.curves.size() - 1 - series_;  // the first was drawn last, on top
      out_ += fmt::format("<g class=\"curve\" data-name=\"{}\">\n",
                          escaped_text(chart_.curves[series_].name));
    } else {
      out_ += "<g>\n";
    }
  }

  void end_series() {
    series_ = no_series;
    out_ += "</g>\n";
  }

  // The width of the pen is the innermost group's.
  std::string pen() const {
    for (auto group = groups_.rbegin(); group != groups_.rend(); ++group) {
      if (const std::string width = group->get("stroke-width"); !width.empty()) return width;
    }
    return "1";
  }

  void path(const Tag& tag) {
    const std::string name = class_of(tag.get("stroke"));
    if (name.empty()) return;
    if (in_bar_) {  // gnuplot draws the outline of each bar as well
      in_bar_ = false;
      if (series_ < chart_.bars.size() && chart_.curves.empty()) return;
    }
    if (series_ < chart_.curves.size()) {
      const Curve& curve = chart_.curves[series_];
      if (!curve.has_dots() && next_ == 0) {
        // A line without dots counts with all its points, once.
        drawn_ += curve.points.size();
        next_ = curve.points.size();
      }
    }
    std::string dashes = tag.get("stroke-dasharray");
    if (!dashes.empty()) dashes = " stroke-dasharray=\"" + dashes + '"';
    out_ += fmt::format("<path class=\"{}\" stroke-width=\"{}\"{} d=\"{}\"/>\n", name, pen(), dashes,
                        tag.get("d"));
  }

  void point(const Tag& tag) {
    if (series_ >= chart_.curves.size()) return;
    const Curve& curve = chart_.curves[series_];
    double x = 0, y = 0, radius = 0;
    if (next_ >= curve.points.size() ||
        std::sscanf(tag.get("transform").c_str(), "translate(%lf,%lf) scale(%lf)", &x, &y, &radius) !=
            3) {
      return;
    }
    const auto& [px, py] = curve.points[next_++];
    ++drawn_;
    out_ += fmt::format(
        "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"><title>{}</title></circle>\n",
        class_of(tag.get("color")), x, y, radius,
        escaped_text(fmt::format("{}, {}: {}", curve.name, text_with_unit(px, chart_.x.unit),
                                 text_with_unit(py, chart_.y.unit))));
  }

  void bar(const Tag& tag) {
    const std::string name = class_of(tag.get("fill"));
    if (name.empty() || series_ >= chart_.bars.size()) return;
    const Bar& bar = chart_.bars[series_];
    ++drawn_;
    in_bar_ = true;
    out_ += fmt::format("<polygon class=\"{}\" points=\"{}\"><title>{}</title></polygon>\n", name,
                        tag.get("points"),
                        escaped_text(bar.label + ": " + text_with_unit(bar.value, chart_.x.unit)));
  }

  static constexpr std::size_t no_series = static_cast<std::size_t>(-1);

  const std::string& in_;
  const Chart& chart_;
  const std::string& kind_;
  std::string view_box_, out_;
  std::vector<Tag> groups_;
  bool in_defs_ = false, in_bar_ = false;
  std::size_t series_ = no_series, next_ = 0, drawn_ = 0;
};

}  // namespace

std::string escaped_text(const std::string& text) {
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

std::string svg_for_page(const std::string& gnuplot_svg, const Chart& chart,
                         const std::string& kind) {
  return SvgCleaner(gnuplot_svg, chart, kind).run();
}

}  // namespace shoal::launch::report
