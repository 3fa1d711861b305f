#include "default_mesh.hpp"

#include <numeric>

#include <shoal/runtime/error.hpp>

namespace shoal::launch {

MeshShape choose_mesh(const std::string& text, int ranks, Index heads) {
  if (text.empty()) {
    const auto tp = static_cast<int>(std::gcd(static_cast<Index>(ranks), heads));
    return {{{"dp", ranks / tp}, {"tp", tp}}};
  }
  MeshShape shape = MeshShape::parse(text);
  if (shape.size() != ranks) {
    throw UsageError("--mesh " + text, "it needs " + std::to_string(shape.size()) + " ranks, but " +
                                           std::to_string(ranks) + " are running",
                     "start that many ranks (mpirun -n " + std::to_string(shape.size()) +
                         "), or change the mesh");
  }
  return shape;
}

}  // namespace shoal::launch
