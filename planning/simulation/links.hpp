// The links of a simulated cluster: until when each is taken, and what it lets pass at once.
#pragma once

#include <utility>
#include <vector>

#include <shoal/planning/profile.hpp>

#include "simulation/phases.hpp"

namespace shoal::planning {

/// A message leaves when its sender's link is free, is as long on it as its bytes take, and arrives
/// a latency later, or when the receiver's link has taken in what came before. Links carry both
/// ways at once, or one after the other where the profile says so.
class SimulatedLinks {
 public:
  /// Of `ranks`; `bursts`: bytes that the links of a level let pass at once when the step begins.
  SimulatedLinks(const Cluster& cluster, int ranks, const std::vector<double>& bursts);

  /// All links of `rank` take so many times as long.
  void slow_down(int rank, double factor);
  /// The innermost level that ranks so far apart have in common.
  std::size_t level_between(int from, int to) const;
  /// Puts a message on the wire; until when its link is taken, and when it is there.
  std::pair<double, double> transmit(int from, int to, std::size_t level, double bytes,
                                     double ready);
  /// Seconds of a meeting that take `meeting` on links that have rested: a link lets some bytes
  /// pass at once and gains them again at its rate (a token bucket, Turner 1986), and what goes
  /// beyond waits for that rate.
  double meeting_seconds(int rank, const Phase& phase, double meeting, double now);

 private:
  struct OfLevel {
    double seconds_per_byte = 0;
    std::vector<double> out, in, slow;  // until when each is taken; how many times as long it takes
    // By rank, as it sees its link: what it lets pass at once, and until when that was reckoned.
    std::vector<double> credit, gained;
  };
  std::size_t link_of(int rank, std::size_t level) const;

  const Cluster& cluster_;
  std::vector<OfLevel> levels_;
};

}  // namespace shoal::planning
