// The layouts that do a step in the least time, and what would make it shorter.
#pragma once

#include <vector>

#include <shoal/planning/estimate.hpp>

namespace shoal::planning {

/// Extents to keep; 0: free. `ranks`: devices to use, exactly; 0: any number up to all.
struct Fixed {
  int dp = 0, tp = 0, pp = 0, ep = 0;
  Index micro_batch = 0;
  int interleave = 0;
  int zero = -1;
  std::optional<Recompute> recompute;
  int ranks = 0;
};

/// What a search has found.
struct Found {
  std::vector<Estimate> best;  ///< the quickest first; all fit
  Index tried = 0;             ///< layouts that were possible
  Index too_large = 0;         ///< of these, that memory has ruled out
  /// Of those, the one that lacks the least memory; only where nothing fits.
  std::optional<Estimate> nearest;
};

/// The `most` best layouts of a workload on a cluster. Two that differ in nothing but their memory
/// savings count as one, in the quickest form.
Found search(const Model& model, const Software& software, const Cluster& cluster,
             const Workload& workload, const Fixed& fixed = {}, std::size_t most = 3);

/// A change to the cluster, and the best step with it.
struct Improvement {
  std::string change;  ///< "twice the bandwidth of InfiniBand"
  double seconds = 0;
  double speedup = 0;  ///< of the step before
  Layout layout;
};

/// What would help most: each level's bandwidth and latency, the devices' rate, memory bandwidth
/// and size, the launches, and twice the nodes; the largest first. `found` is what search() has
/// found.
std::vector<Improvement> improvements(const Model& model, const Software& software,
                                      const Cluster& cluster, const Workload& workload,
                                      const Fixed& fixed, const Found& found);

}  // namespace shoal::planning
