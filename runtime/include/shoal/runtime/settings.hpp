// What the user may set for a run, from the environment: docs/environment.md has the table.
#pragma once

#include <string>
#include <vector>

#include <shoal/runtime/units.hpp>

namespace shoal {

/// What a rank does while it waits for another.
enum class WaitPolicy {
  automatic,  ///< spins while the node has a core for each of its ranks, otherwise yields
  spin,       ///< never gives the processor up: the least delay, where each rank owns a core
  yield,      ///< lets others run, and sleeps for moments once the wait is long
  sleep,  ///< sleeps soon, longer the longer it waits: for ranks whose processor time is limited
};

/// The environment of a run. The variables are SHOAL_ and the name in capitals.
struct Settings {
  WaitPolicy wait = WaitPolicy::automatic;
  /// The bound of every wait for another rank.
  Seconds timeout{300};
  bool timeout_given = false;  ///< by the user
  /// After how long without a heartbeat a rank counts as gone; at most `timeout`.
  Seconds silence{30};
  /// Whether the ranks watch each other.
  bool watch = true;
  /// Whether non-blocking collectives may have threads; then MPI is asked for MPI_THREAD_MULTIPLE.
  bool background = true;
  /// Whether collectives may have TCP connections of their own between nodes.
  bool tcp = true;
  /// Whether the preload library lends buffers that come again to the ranks of the node, and PyTorch's backend
  /// tensors.
  bool preload_lend = true;
  bool torch_lend = true;
  /// Whether the ranks compare their calls before each collective.
  bool check = false;
  /// Whether all sums are to be reproducible (CollectiveOptions::reproducible).
  bool reproducible = false;
  /// The file with the tuning table; empty: the user's (default_tuning_path()); "off": none.
  std::string tuning;
  /// The folder for the flight recorder's file; empty: not given; "off": no file.
  std::string flight_recorder;
  /// Ranks of each node, in turn, as which this machine poses to its ranks; empty: as what it is.
  std::vector<int> nodes;
};

/// Read once, at the first call; the Runtime's constructor makes it. Throws UsageError that names
/// the variable if one has no sense.
const Settings& settings();

}  // namespace shoal
