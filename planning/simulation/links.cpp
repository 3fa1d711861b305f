#include "simulation/links.hpp"

#include <algorithm>
#include <cstdlib>

namespace shoal::planning {

SimulatedLinks::SimulatedLinks(const Cluster& cluster, int ranks, const std::vector<double>& bursts)
    : cluster_(cluster) {
  for (const Level& level : cluster.levels) {
    OfLevel& links = levels_.emplace_back();
    links.credit.assign(static_cast<std::size_t>(ranks), bursts[levels_.size() - 1]);
    links.gained.assign(static_cast<std::size_t>(ranks), 0);
    links.seconds_per_byte = 1 / (level.bandwidth * level.efficiency);
    const auto count = static_cast<std::size_t>((ranks + level.shared_by - 1) / level.shared_by);
    links.out.assign(count, 0);
    links.in.assign(level.full_duplex ? count : 0, 0);
    links.slow.assign(count, 1);
  }
}

std::size_t SimulatedLinks::link_of(int rank, std::size_t level) const {
  return static_cast<std::size_t>(rank / cluster_.levels[level].shared_by);
}

void SimulatedLinks::slow_down(int rank, double factor) {
  for (std::size_t i = 0; i < levels_.size(); ++i) levels_[i].slow[link_of(rank, i)] = factor;
}

std::size_t SimulatedLinks::level_between(int from, int to) const {
  std::size_t level = 0;
  const int distance = std::abs(to - from);
  while (level + 1 < cluster_.levels.size() && distance >= cluster_.levels[level].devices) ++level;
  return level;
}

std::pair<double, double> SimulatedLinks::transmit(int from, int to, std::size_t level,
                                                   double bytes, double ready) {
  OfLevel& links = levels_[level];
  const std::size_t a = link_of(from, level), b = link_of(to, level);
  const double out_time = bytes * links.seconds_per_byte * links.slow[a];
  const double in_time = bytes * links.seconds_per_byte * links.slow[b];
  const double latency = cluster_.levels[level].latency;
  double& out = links.out[a];
  const double begin = std::max(ready, out);
  out = begin + out_time;
  if (a == b) return {out, out + latency};  // through the link and back
  double& in = links.in.empty() ? links.out[b] : links.in[b];
  const double head = std::max(begin + latency, in);
  in = std::max(head + in_time, out + latency);
  return {out, in};
}

double SimulatedLinks::meeting_seconds(int rank, const Phase& phase, double meeting, double now) {
  const auto at_level = static_cast<std::size_t>(phase.level);
  const Level& level = cluster_.levels[at_level];
  if (!level.burst_bytes || !(phase.link_bytes > 0)) return meeting;
  OfLevel& links = levels_[at_level];
  double& credit = links.credit[static_cast<std::size_t>(rank)];
  double& gained = links.gained[static_cast<std::size_t>(rank)];
  const double rate = level.bandwidth * level.efficiency;
  credit = std::min(credit + rate * (now - gained), level.burst_bytes->value);
  gained = now;
  const double beyond = phase.link_bytes - credit;
  credit -= phase.link_bytes;
  return beyond > 0 ? std::max(meeting, level.latency + beyond / rate) : meeting;
}

}  // namespace shoal::planning
