// Pictures of latency and bandwidth over size, as SVG.
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

/// An SVG document: for each panel a row with the time (left) and the bandwidth, size over time
/// (right), over size; all axes logarithmic, the legend beside them.
std::string plot_svg(const std::vector<Panel>& panels);

}  // namespace shoal::bench
