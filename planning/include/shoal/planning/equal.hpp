// How many modest nodes make one powerful device.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <shoal/planning/search.hpp>

namespace shoal::planning {

/// One side of the comparison: so many equal units, a cluster of which is priced as `cluster`.
struct Side {
  std::string name;
  Cluster cluster;  ///< its nodes are the units that are counted
  Software software;
};

/// By the name of a cluster, whose nodes are the units, or of a device, of which the first cluster
/// that has it joins as many as are asked for. Throws UsageError.
Side find_side(const std::string& name);

/// What serving may take, and what it is measured with.
struct Terms {
  Index global_batch = 512;     ///< sequences of a training step
  Index training_tokens = 0;    ///< of each; 0: the model's context, 4096 at most
  Index prompt = 2048;          ///< tokens read
  Index context = 4096;         ///< tokens there already when generating
  Index batch = 0;              ///< sequences generated at once; 0: as many as the time allows
  double token_seconds = 0.05;  ///< a token of a sequence may take, where the batch is free
  double prompt_seconds = 2;    ///< until a prompt has been read
  int most_nodes = 0;           ///< to try; 0: as many as the profile has, and 512 at least
};

/// A number of nodes and what they reach.
struct Point {
  int nodes = 0;
  double value = 0;  ///< tokens/s; 0: the model does not fit
  Index batch = 0;
  Estimate estimate;  ///< of the best layout
};

/// One measure of both.
struct Measure {
  std::string name;  ///< "training", "decode", "memory", ...
  std::string type;  ///< number format; empty where there is none
  std::string unit;
  double device = 0;             ///< what is to be equalled; 0: it cannot do it
  Point device_point;            ///< of a workload
  double nodes_value = 0;        ///< of all nodes that the profile has
  std::optional<double> needed;  ///< nodes that equal the device; empty: no number tried does
  std::vector<Point> curve;      ///< of a workload, by number of nodes
  int stops = 0;    ///< nodes from which on twice as many give less than a tenth more; 0: none
  std::string why;  ///< what takes the time there
  bool is_workload() const noexcept { return !curve.empty(); }
};

/// All measures of `nodes` against `device`, the sums first (peak by type, memory, bandwidths),
/// then the workloads on `model` by type.
std::vector<Measure> equal(const Side& device, const Side& nodes, const Model& model,
                           const Terms& terms);

}  // namespace shoal::planning
