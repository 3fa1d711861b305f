#include "distinct_ids.hpp"

namespace shoal::models {

DistinctIds::DistinctIds(const Block& block)
    : block_(block), place_of_(static_cast<std::size_t>(block.size), -1) {}

void DistinctIds::find(Index rows, const std::int32_t* tokens) {
  for (const std::int32_t id : ids_) place_of_[static_cast<std::size_t>(id - block_.begin)] = -1;
  ids_.clear();
  places_.assign(static_cast<std::size_t>(rows), -1);
  for (Index row = 0; row < rows; ++row) {
    const Index at = tokens[row] - block_.begin;
    if (at < 0 || at >= block_.size) continue;
    std::int32_t& place = place_of_[static_cast<std::size_t>(at)];
    if (place < 0) {
      place = static_cast<std::int32_t>(ids_.size());
      ids_.push_back(tokens[row]);
    }
    places_[static_cast<std::size_t>(row)] = place;
  }
}

}  // namespace shoal::models
