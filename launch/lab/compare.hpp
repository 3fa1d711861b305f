// Training over the hosts of a lab against one process with as much of the processors.
#pragma once

#include <string>
#include <vector>

#include "state.hpp"

namespace shoal::launch::lab {

/// What to train, as in `shoal bench train`.
struct CompareOptions {
  std::vector<std::string> meshes;  ///< empty: candidates()
  std::string config = "gpt2", type = "fp32";
  int batch_size = 0;     ///< 0: the configuration's
  int micro_batches = 0;  ///< 0: as many as the stages of each mesh want
  int warm_up = 1, steps = 2;
  bool shard_optimizer = false;
  std::string gradient_type = "fp32", gather_type = "fp32";
  std::string json;
};

/// The meshes of `hosts` ranks of a host each, of dp alone to pp alone.
std::vector<std::string> candidates(int hosts);

/// Trains on every mesh in one run over the lab, one rank a host, and before it in one process on this
/// machine's own cores, with as many threads as the hosts have cores' worth of time together. Prints for each
/// mesh E, the speed over the one process's by cores' worth of time, with the bytes, the waiting and the work
/// that explain it, and which is the best. Returns the exit status of the run. Throws UsageError for a mesh of another
/// number of ranks.
int compare(const Lab& lab, const CompareOptions& options);

}  // namespace shoal::launch::lab
