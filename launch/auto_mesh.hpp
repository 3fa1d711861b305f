// --mesh auto: the mesh that the planner finds the quickest.
#pragma once

#include <string>

#include <shoal/models/trainer.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/mesh.hpp>

namespace shoal::launch {

/// A mesh of all ranks, and in a line or two why it is this one.
struct AutoMesh {
  MeshShape mesh;
  std::string why;
};

/// Prices every mesh that training can have here by the profile of this machine (shoal tune) if it is
/// of such ranks, or else by a coarse one that is measured now, in a second or two. Where neither can
/// be had (ranks that share cores, nodes with different numbers of them) the mesh is the default.
/// Collective; the same on all ranks. Throws UsageError if no mesh can be.
AutoMesh choose_auto_mesh(const Communicator& world, const models::TrainOptions& options);

}  // namespace shoal::launch
