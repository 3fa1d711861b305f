#include <shoal/planning/table.hpp>

#include <algorithm>
#include <cmath>

#include <shoal/runtime/error.hpp>

namespace shoal::planning {
namespace {

// The points of an axis around a value, and how far it is from the first to the second.
struct Between {
  std::size_t below = 0, above = 0;
  double share = 0;
};

Between place_on(const std::vector<double>& axis, double value) {
  if (!(value > axis.front())) return {};
  if (value >= axis.back()) return {axis.size() - 1, axis.size() - 1, 0};
  const auto above = static_cast<std::size_t>(
      std::upper_bound(axis.begin(), axis.end(), value) - axis.begin());
  return {above - 1, above,
          std::log(value / axis[above - 1]) / std::log(axis[above] / axis[above - 1])};
}

}  // namespace

double Table::at(std::span<const double> where) const {
  if (where.size() != axes.size()) {
    throw Error("table", std::to_string(where.size()) + " numbers for " +
                             std::to_string(axes.size()) + " axes");
  }
  std::vector<Between> places;
  for (std::size_t i = 0; i < axes.size(); ++i) places.push_back(place_on(axes[i], where[i]));
  double sum = 0;
  for (unsigned corner = 0; corner < (1u << axes.size()); ++corner) {
    double weight = 1;
    std::size_t index = 0;
    for (std::size_t i = 0; i < axes.size(); ++i) {
      const bool above = (corner >> i & 1u) != 0;
      weight *= above ? places[i].share : 1 - places[i].share;
      index = index * axes[i].size() + (above ? places[i].above : places[i].below);
    }
    if (weight > 0) sum += weight * std::log(values[index]);
  }
  return std::exp(sum);
}

}  // namespace shoal::planning
