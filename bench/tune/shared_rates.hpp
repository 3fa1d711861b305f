// What collectives in shared memory take, for a profile.
#pragma once

#include <map>
#include <vector>

#include <shoal/collectives/registry.hpp>
#include <shoal/planning/profile.hpp>
#include <shoal/runtime/communicator.hpp>

#include "tune/points.hpp"

namespace shoal::bench {

/// What a profile holds of a collective over so many ranks of a node that takes `seconds`: seconds
/// a byte in the formula beside the algorithm, beyond its flags.
double shared_seconds_a_byte(Operation operation, double bytes, int ranks, double seconds,
                             double flag);

/// Flags and every collective in groups of 2, 4, 8, ... ranks of a node that all work at once:
/// measured in passes, of which the middle counts. What is called is collective.
class SharedMemoryRates {
 public:
  /// Of the nodes of `world`, which have several ranks each.
  SharedMemoryRates(const Communicator& world, const LinkOptions& options);
  void pass();
  /// What the passes so far have found.
  planning::Level level() const;

 private:
  struct Group {
    int ranks = 0;
    Communicator comm;
    std::vector<double> flags;                                    // a pass each
    std::map<Operation, std::vector<std::vector<double>>> times;  // by size, then pass
  };
  LinkOptions options_;
  Communicator node_;
  std::vector<double> sizes_;
  std::vector<Group> groups_;
};

}  // namespace shoal::bench
