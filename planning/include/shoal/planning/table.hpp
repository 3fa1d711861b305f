// Numbers that were measured over a grid.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace shoal::planning {

/// Seconds for a unit of work, by up to three extents of the work. Confidence and source as those of
/// a Figure, for all of them.
struct Table {
  std::vector<std::vector<double>> axes;  ///< of each extent: the points measured, ascending, > 0
  std::vector<double> values;             ///< seconds for a unit, > 0; the last axis runs fastest
  char confidence = 'A';
  std::string source;

  bool empty() const noexcept { return values.empty(); }
  /// Between the points linear in the logarithms of extents and seconds, which is exact for every
  /// power of the extents; outside of the grid as at its edge. `where`: one number an axis.
  double at(std::span<const double> where) const;
  double at(std::initializer_list<double> where) const {
    return at(std::span<const double>(where.begin(), where.size()));
  }
};

}  // namespace shoal::planning
