#include "report/chart.hpp"

#include <array>
#include <cmath>

#include <fmt/format.h>

namespace shoal::launch::report {
namespace {

// Three digits, without zeros that say nothing. Spaces before units do not break.
std::string three_digits(double value) {
  const double size = std::abs(value);
  std::string text = fmt::format("{:.{}f}", value, size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
  if (size > 0 && size < 0.0995) return fmt::format("{:.2g}", value);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

std::string with_prefix(double value, double base, const std::array<const char*, 6>& units) {
  std::size_t unit = 0;
  while (std::abs(value) >= base * 0.9995 && unit + 1 < units.size()) {
    value /= base;
    ++unit;
  }
  return three_digits(value) + units[unit];
}

}  // namespace

std::string text_with_unit(double value, Unit unit) {
  switch (unit) {
    case Unit::bytes:
      return with_prefix(value, 1024, {"\u00a0B", "\u00a0KiB", "\u00a0MiB", "\u00a0GiB", "\u00a0TiB", "\u00a0PiB"});
    case Unit::seconds:
      return with_prefix(value * 1e9, 1000, {"\u00a0ns", "\u00a0µs", "\u00a0ms", "\u00a0s", "\u00a0ks", "\u00a0Ms"});
    case Unit::flops:
      return with_prefix(value, 1000, {"\u00a0FLOP/s", "\u00a0kFLOP/s", "\u00a0MFLOP/s", "\u00a0GFLOP/s",
                                       "\u00a0TFLOP/s", "\u00a0PFLOP/s"});
    case Unit::count:
      // Numbers of nodes, rows and the like are known exactly.
      if (std::abs(value) < 10'000 && value == std::round(value)) return fmt::format("{:.0f}", value);
      [[fallthrough]];
    case Unit::tokens:
      return with_prefix(value, 1000, {"", "\u00a0k", "\u00a0M", "\u00a0G", "\u00a0T", "\u00a0P"});
    case Unit::percent:
      return three_digits(100 * value) + "\u00a0%";
    case Unit::ratio:
      break;
  }
  return three_digits(value);
}

bool Curve::has_dots() const noexcept {
  return points.size() == 1 || form == Form::points || form == Form::line_and_points;
}

std::size_t Chart::point_count() const noexcept {
  std::size_t count = bars.size();
  for (const Curve& curve : curves) count += curve.points.size();
  return count;
}

}  // namespace shoal::launch::report
