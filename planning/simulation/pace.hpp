// How quickly a simulated rank goes on, beside what else is at work.
#pragma once

#include <shoal/planning/estimate.hpp>

#include "cost/crowd.hpp"

namespace shoal::planning {

/// Speeds relative to those of the program, which are of a rank that does one thing while all ranks
/// work: an exchange and a computation of a rank hold each other up, and ranks that wait for
/// another stage leave memory, clock and cores to the rest.
class Pace {
 public:
  Pace(const Software& software, const Cluster& cluster, const Layout& layout);

  /// True if ranks that wait for another stage make a difference to the others.
  bool leaves_room() const noexcept { return leaves_room_; }
  /// So many more ranks, or fewer, do not wait for another stage.
  void change_at_work(int more) noexcept { at_work_ += more; }

  /// Of a computation, of whose time so much a part is no product. `beside`: the level of the
  /// exchange that goes on meanwhile; null: none.
  double of_computation(double streams, const Level* beside) const;
  /// Of an exchange that the rank waits for, while it has another one beside it.
  double of_waiting(const Level* beside) const;
  /// Of an exchange at `level`, with a computation beside it or without.
  double of_exchange(const Level& level, bool computes) const;
  /// Seconds of an exchange that take so many while all ranks are at work.
  double exchange_seconds(double seconds, double bytes, int level) const;

 private:
  const Crowd crowd_;
  const int ranks_;
  const bool leaves_room_;
  int at_work_;  // ranks that do not wait for another stage
  double taken_by_exchange_ =
      0;  // of the units that compute, where the profile of the cluster does not say
};

}  // namespace shoal::planning
