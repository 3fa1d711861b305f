// Which rows of an embedding table a batch needs.
#pragma once

#include <cstdint>
#include <vector>

#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::models {

/// The token ids of a batch that are in a block of all ids, each once, in the order in which they
/// first come: two ranks that have the same tokens list them alike, and need not tell each other.
class DistinctIds {
 public:
  /// `block`: those whose rows the table holds.
  explicit DistinctIds(const Block& block);

  /// Finds those of tokens[rows].
  void find(Index rows, const std::int32_t* tokens);
  /// The ids of the last find().
  const std::vector<std::int32_t>& ids() const noexcept { return ids_; }
  Index count() const noexcept { return static_cast<Index>(ids_.size()); }
  /// For each token its place in ids(), −1 if it is not in the block.
  const std::vector<std::int32_t>& places() const noexcept { return places_; }

 private:
  Block block_;
  std::vector<std::int32_t> ids_;
  std::vector<std::int32_t> places_;
  std::vector<std::int32_t> place_of_;  // by id of the block: in ids_; -1: not there
};

}  // namespace shoal::models
