// What gnuplot wrote, made fit for a page.
#pragma once

#include <string>

#include "report/chart.hpp"

namespace shoal::launch::report {

/// gnuplot knows colours, not classes: these stand for what the style sheet calls by name.
inline constexpr int text_code = 0x010101, axis_code = 0x020202, grid_code = 0x030303,
                     reference_code = 0x040404, first_tone_code = 0x050500;

/// The drawing with classes in place of colours, without what paints nothing, and with no id, so
/// that many can stand in one page. Points become <circle>, each with its numbers. `kind`: "wide" or
/// "narrow". Throws Error if it is no drawing of this chart.
std::string svg_for_page(const std::string& gnuplot_svg, const Chart& chart,
                         const std::string& kind);

/// Text for HTML and XML.
std::string escaped_text(const std::string& text);

}  // namespace shoal::launch::report
