#include <algorithm>
#include <cmath>

#include <shoal/collectives/tuning.hpp>

namespace shoal {
namespace {

// How far apart two counts are, in doublings.
double doublings(double a, double b) { return std::abs(std::log2(a / b)); }

}  // namespace

const TuningTable::Entry* TuningTable::find(const Group& group) const noexcept {
  const Entry* best = nullptr;
  double best_distance = 0;
  for (const Entry& entry : entries) {
    const Group& known = entry.group;
    if (known.operation != group.operation || known.memory != group.memory ||
        (known.nodes == 1) != (group.nodes == 1)) {
      continue;
    }
    const double ranks = doublings(known.ranks, group.ranks);
    const double nodes = doublings(known.nodes, group.nodes);
    if (ranks > 1 || nodes > 1) continue;
    if (best == nullptr || ranks + nodes < best_distance) {
      best = &entry;
      best_distance = ranks + nodes;
    }
  }
  return best;
}

const TuningTable::Point* TuningTable::nearest(const Entry& entry, Bytes bytes) noexcept {
  const auto size = [](Bytes value) { return static_cast<double>(std::max<Bytes>(value, 1)); };
  const auto closer = [&](const Point& a, const Point& b) {
    return doublings(size(a.bytes), size(bytes)) < doublings(size(b.bytes), size(bytes));
  };
  const auto found = std::min_element(entry.points.begin(), entry.points.end(), closer);
  return found == entry.points.end() ? nullptr : &*found;
}

}  // namespace shoal
