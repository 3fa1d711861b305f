#include <shoal/runtime/placement.hpp>

namespace shoal {

std::string Placement::text() const {
  switch (kind) {
    case Kind::replicate: return "Replicate";
    case Kind::shard: return "Shard(" + std::to_string(dim) + ")";
    case Kind::partial: return "Partial(" + std::string(name_of(op)) + ")";
  }
  return "?";
}

}  // namespace shoal
