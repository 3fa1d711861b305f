// Charts as SVG, by gnuplot.
#pragma once

#include <string>
#include <vector>

#include "report/chart.hpp"

namespace shoal::launch::report {

/// A chart twice: for pages as wide as a desk's, and for a phone's.
struct Drawing {
  std::string wide, narrow;  ///< <svg> elements, to be set into the page
};

/// One for each chart, in their order. Colours are classes of the page's style sheet (style.hpp), so
/// that they follow dark mode; every point and bar carries its numbers as a <title>. Throws Error if
/// gnuplot is not there or fails.
std::vector<Drawing> draw(const std::vector<Chart>& charts);

/// What gnuplot reads to draw one chart, `width` pixels wide; for tests.
std::string script_for(const Chart& chart, int width, const std::string& output);

}  // namespace shoal::launch::report
