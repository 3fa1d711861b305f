#include "simulation/pace.hpp"

#include <algorithm>

namespace shoal::planning {
namespace {

// Of the time, that a computation stands still beside an exchange.
constexpr double most_cost = 0.95;

}  // namespace

Pace::Pace(const Software& software, const Cluster& cluster, const Layout& layout)
    : crowd_(cluster),
      ranks_(layout.ranks()),
      leaves_room_(layout.pp > 1 && crowd_.matters()),
      at_work_(layout.ranks()) {
  if (software.exchange_units) {
    taken_by_exchange_ = std::min(*software.exchange_units / cluster.device.units, most_cost);
  }
}

double Pace::of_computation(double streams, const Level* beside) const {
  double speed = 1;
  if (leaves_room_) {
    const double some = at_work_, all = ranks_;
    speed = 1 / ((1 - streams) * crowd_.products(some) / crowd_.products(all) +
                 streams * crowd_.streams(some) / crowd_.streams(all));
  }
  if (beside == nullptr) return speed;
  return speed * (beside->beside_cost ? of_waiting(beside) : 1 - taken_by_exchange_);
}

double Pace::of_waiting(const Level* beside) const {
  if (beside == nullptr || !beside->beside_cost) return 1;
  return 1 - std::min(beside->beside_cost->value, most_cost);
}

double Pace::of_exchange(const Level& level, bool computes) const {
  return computes && level.beside_slowdown ? 1 / level.beside_slowdown->value : 1;
}

double Pace::exchange_seconds(double seconds, double bytes, int level) const {
  if (!leaves_room_) return seconds;
  return seconds * crowd_.exchanges(at_work_, bytes, level) /
         crowd_.exchanges(ranks_, bytes, level);
}

}  // namespace shoal::planning
