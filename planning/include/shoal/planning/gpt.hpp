// Plans for what `shoal train` is about to do.
#pragma once

#include <vector>

#include <shoal/models/trainer.hpp>
#include <shoal/planning/search.hpp>

namespace shoal::planning {

/// As the planner sees the model, the step and the mesh of a training run. A batch that does not
/// divide over dp counts as if every replica had the largest share.
Model model_of(const models::GptConfig& config);
Workload workload_of(const models::TrainOptions& options, const MeshShape& mesh);
Layout layout_of(const models::TrainOptions& options, const MeshShape& mesh);

/// A mesh that a run can have, and what a step takes on it.
struct PricedMesh {
  MeshShape mesh;
  Estimate estimate;
};

/// All meshes of `ranks` ranks over pp, dp and tp on which the run is possible, the quickest first; those
/// that do not fit in memory come last. `cluster` must have as many devices; `software` is that of the
/// profiles.
std::vector<PricedMesh> price_meshes(const models::TrainOptions& options, const Software& software,
                                     const Cluster& cluster, int ranks);

}  // namespace shoal::planning
