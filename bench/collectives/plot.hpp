// Pictures of latency and bandwidth over size, drawn by gnuplot.
#pragma once

#include <string>
#include <vector>

#include <shoal/runtime/units.hpp>

namespace shoal::bench {

/// A curve: seconds over bytes.
struct Series {
  enum class Kind { ours, peer, bound };
  std::string name;
  Kind kind = Kind::ours;
  std::vector<std::pair<double, double>> points;  ///< (bytes, seconds), ascending, both positive
};

/// What one pair of panels shows.
struct Panel {
  std::string title;
  std::vector<Series> series;
};

/// What gnuplot reads to draw into `file`, an SVG or PNG by its end: for each panel a row with the time
/// (left) and the bandwidth, size over time (right), over size; all axes logarithmic, the legend beside
/// them.
std::string plot_script(const std::vector<Panel>& panels, const std::string& file);
/// Throws Error that says what to install where gnuplot is missing.
void require_plotter();
/// Throws Error if gnuplot fails.
void write_plot(const std::vector<Panel>& panels, const std::string& file);

}  // namespace shoal::bench
