// Latency and bandwidth between every two ranks, and the differences of their clocks.
#pragma once

#include <vector>

#include <shoal/runtime/communicator.hpp>

namespace shoal::launch {

/// One pair, measured by messages to and fro.
struct PairTime {
  Rank a = 0, b = 0;
  double latency_s = 0;         ///< one way, of 4 bytes: alpha
  double bytes_per_second = 0;  ///< one way, of 1 MiB, latency taken off: 1 / beta
};

/// Whom `rank` meets in a round of a tournament of `ranks`, -1: nobody. In each round everybody has
/// one partner at most, so that pairs do not share a host's link; after `tournament_rounds(ranks)`
/// all pairs have met.
Rank partner_in_round(Rank rank, int ranks, int round);
int tournament_rounds(int ranks);

/// Measures every pair, within about `seconds` altogether; slow links take what one message takes.
/// Collective; rank 0 gets the result, sorted, the others nothing.
std::vector<PairTime> measure_pairs(const Communicator& world, double seconds);

/// By how much a rank's clock is ahead of rank 0's, and how far off that may be.
struct ClockSkew {
  double ahead_s = 0, error_s = 0;
};

/// From the quickest of some messages to and fro (as NTP does it). Collective; for rank 0.
std::vector<ClockSkew> measure_clocks(const Communicator& world);

}  // namespace shoal::launch
