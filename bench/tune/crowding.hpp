// How much longer ranks take while others work, too, for a profile.
#pragma once

#include <string>
#include <vector>

#include <shoal/planning/profile.hpp>

#include "tune/points.hpp"
#include "tune/sampler.hpp"

namespace shoal::bench {

/// Products, long sums and exchanges of pairs of ranks, while the first 1, 2, 4, ... of all ranks
/// are at work and the others wait: what ranks of a node take of each other's memory and clock, and
/// ranks that share cores, be it in one node or in hosts of one machine, of each other's turns.
/// Measured in passes, of which the middle counts. What is called is collective.
class CrowdRates {
 public:
  CrowdRates(const Sampler& sampler, const LinkOptions& options);
  void pass();
  /// Adds its tables to those of the device.
  void put(planning::Device& device) const;

 private:
  const Sampler& sampler_;
  LinkOptions options_;
  Pool pool_;
  std::vector<double> at_work_, in_pairs_;               // ranks
  std::vector<std::vector<double>> products_, streams_;  // by ranks, then pass
  std::vector<std::vector<double>> exchanges_;           // by ranks and bytes, then pass
};

}  // namespace shoal::bench
