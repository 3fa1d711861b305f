// Latency and bandwidth from times of messages.
#pragma once

#include <utility>
#include <vector>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// A straight line, seconds = alpha + beta·bytes.
struct Line {
  double alpha = 0, beta = 0;
};

/// The line that is nearest to (bytes, seconds) by the squares of the relative errors, so that short
/// messages count as much as long ones; neither part below a billionth of a microsecond (a byte).
Line fit_line(const std::vector<std::pair<double, double>>& points);

/// The model's figures for messages between two ranks of `world`, from messages to and fro of 8 bytes
/// to `most` (medians), and of a loop on this rank that adds one array to another. Called by all ranks;
/// it means something on `a`.
Network measure_level(const Communicator& world, Rank a, Rank b, Bytes most);

}  // namespace shoal::bench
