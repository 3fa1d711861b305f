// Ranks in named axes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <shoal/runtime/communicator.hpp>

namespace shoal {

/// Names and lengths of the axes of a mesh.
struct MeshShape {
  struct Axis {
    std::string name;  ///< dp (data), tp (tensor), pp (pipeline), or another short word
    int size = 1;
    friend bool operator==(const Axis&, const Axis&) = default;
  };
  std::vector<Axis> axes;

  /// From text like "dp=2,tp=4", of dp, tp and pp. Throws UsageError that says what is wrong with
  /// it.
  static MeshShape parse(std::string_view text);
  /// Product of the lengths: the number of ranks it needs.
  int size() const noexcept;
  /// Length of an axis, 1 if it is not there.
  int size_of(std::string_view axis) const noexcept;
  /// "dp=2,tp=4".
  std::string text() const;
};

/// The ranks of a communicator as a grid with named axes. Ranks are numbered anew so that those
/// that differ only in tp are neighbours, on the same node wherever they fit; then come the other
/// axes in the order they were written, the last one closest; and pp, whose ranks exchange the
/// least, comes outermost, so that it is what passes between nodes.
class Mesh {
 public:
  /// Collective over `world`. Throws UsageError if the shape does not multiply to the rank count.
  Mesh(const Communicator& world, const MeshShape& shape);

  const MeshShape& shape() const noexcept { return shape_; }
  /// The ranks that differ from this one only along `name`, in order. An axis that the mesh does not
  /// have is this rank alone.
  const Communicator& axis(std::string_view name) const;
  /// This rank's place along an axis (0 if the mesh does not have it).
  int coordinate(std::string_view name) const { return axis(name).rank(); }
  /// All ranks, in mesh order: the last axis (tp) varies fastest.
  const Communicator& all() const noexcept { return all_; }

 private:
  MeshShape shape_;
  Communicator all_;
  Communicator self_;
  std::vector<Communicator> axes_;
};

}  // namespace shoal
