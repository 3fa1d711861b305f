// Ranks on the cores that this process may use, where mpirun would bind them to others: it counts
// the cores of the machine and does not see the affinity mask that taskset, a batch system or a
// notebook's server gave us.
#pragma once

#include <string>
#include <vector>

#include "process.hpp"

namespace shoal::launch {

/// Of each rank of this machine the processors it is bound to.
using Pins = std::vector<std::vector<int>>;

/// `threads` cores for each of `ranks` ranks, in turn; each core is given by its processors. Empty
/// if there are too few.
Pins deal_cores(const std::vector<std::vector<int>>& cores, int ranks, int threads);

/// As a flag carries them: "0,8;1,9" are two ranks of a core with two processors each.
std::string pins_text(const Pins& pins);
/// Throws UsageError if it is no such text.
Pins parse_pins(const std::string& text);

/// Binds this process, one that mpirun started, to the processors of its place on the machine and
/// becomes the program. Throws Error if it cannot.
[[noreturn]] void run_pinned(const Pins& pins, const Words& program);

}  // namespace shoal::launch
