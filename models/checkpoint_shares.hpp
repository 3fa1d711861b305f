// Which rank writes what of a model's checkpoint.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <shoal/models/gpt.hpp>
#include <shoal/runtime/checkpoint.hpp>
#include <shoal/runtime/placement.hpp>

namespace shoal::models {

/// A rank's place on the mesh.
struct MeshPlace {
  int dp = 1, tp = 1;
  int dp_rank = 0, tp_rank = 0;
};
MeshPlace place_on(const Mesh& mesh);

/// A slice whose data lie at `offset` of the rank's array of weights or of moments.
struct Share {
  TensorSlice slice;
  Index offset = 0;
};

/// What rank `place` has of the parameters in `list`, each of their elements owned by one rank of the
/// mesh. What several ranks hold alike is divided, so that all of them write. Every rank comes to the
/// same division.
class CheckpointShares {
 public:
  explicit CheckpointShares(const MeshPlace& place);

  /// Of arrays that all dp ranks hold. `prefix`: of the tensors' names.
  std::vector<Share> of_replicas(const std::string& prefix, std::span<const Parameter> list);
  /// Of arrays of which each dp rank holds its `owned` ranges, one after the other.
  std::vector<Share> of_owned(const std::string& prefix, std::span<const Parameter> list,
                              std::span<const Block> owned) const;

 private:
  Share share_of(const std::string& name, const Parameter& parameter);
  int take(const Parameter& parameter, int holders);
  Index load(int holder, int ranks_each) const;

  MeshPlace place_;
  std::vector<Index> load_;  // elements, by dp_rank * tp + tp_rank
};

}  // namespace shoal::models
