// How calls are timed: in turns, on all ranks at once.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// The middle value; of an even number the mean of the two.
double median(std::vector<double> values);

/// Median time, in seconds, of each call. The calls take turns, so that what disturbs the machine
/// disturbs all alike; before each the ranks meet at a barrier, and a repetition takes as long as it
/// takes the slowest rank. Calls too short for the clock are repeated within a repetition. About
/// `budget` seconds in all, but at least `fewest` repetitions of each. Collective.
std::vector<double> interleaved_medians(const Communicator& comm,
                                        std::span<const std::function<void()>> calls,
                                        double budget, int fewest = 7);

}  // namespace shoal::bench
