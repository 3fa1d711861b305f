// From one placement of a tensor to another, through the collective that does it.
#pragma once

#include <vector>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/view.hpp>

namespace shoal {

/// Shape of the part that rank `rank` of `ranks` holds of a tensor of shape `global`.
Shape local_shape(const Shape& global, const Placement& placement, int ranks, Rank rank);

/// Turns a tensor of shape `global`, placed as `from` over the ranks of `axis`, into one placed as
/// `to`. `source` and `target` are this rank's parts (dense, of local_shape) and must not overlap.
///
/// | from \ to | Replicate  | Shard(d)          | Partial(op)                                    |
/// |-----------|------------|-------------------|------------------------------------------------|
/// | Replicate | copy       | copy of the block | sum, prod: rank 0 keeps it, others have 0 or 1; |
/// |           |            |                   | min, max, avg: all keep it                     |
/// | Shard(c)  | all-gather | all-to-all        | sum: own block, 0 elsewhere; other: all-gather |
/// | Partial   | all-reduce | reduce-scatter    | all-reduce; same operation: copy               |
///
/// Blocks are those of block_of: extents need not divide. Blocking and collective over `axis`. Throws
/// Error if a part has the wrong shape or a placement names a dimension that is not there.
void redistribute(const Communicator& axis, const Shape& global, DType type, const void* source,
                  const Placement& from, void* target, const Placement& to);

template <class T>
void redistribute(const Communicator& axis, const Shape& global, View<const T> source,
                  const Placement& from, View<T> target, const Placement& to);

/// Shape of this rank's part of a tensor that is placed over every axis of a mesh: `placements` has
/// one entry for each axis of mesh.shape(), in order. Where several axes divide the same dimension
/// the earlier axis divides first.
Shape local_shape(const Mesh& mesh, const Shape& global, const std::vector<Placement>& placements);

/// The same over all axes of a mesh: axes are unwound from the last (innermost) to the first that
/// differs, and wound up again.
void redistribute(const Mesh& mesh, const Shape& global, DType type, const void* source,
                  const std::vector<Placement>& from, void* target,
                  const std::vector<Placement>& to);

/// Throws Error unless `view` is dense and has the shape `expected`.
void require_dense(const Shape& actual, bool contiguous, const Shape& expected, const char* which);

template <class T>
void redistribute(const Communicator& axis, const Shape& global, View<const T> source,
                  const Placement& from, View<T> target, const Placement& to) {
  const int ranks = axis.size();
  require_dense(source.shape(), source.is_contiguous(),
                local_shape(global, from, ranks, axis.rank()), "source");
  require_dense(target.shape(), target.is_contiguous(),
                local_shape(global, to, ranks, axis.rank()), "target");
  redistribute(axis, global, dtype_of<T>, source.data(), from, target.data(), to);
}

template <class T>
void redistribute(const Mesh& mesh, const Shape& global, View<const T> source,
                  const std::vector<Placement>& from, View<T> target,
                  const std::vector<Placement>& to) {
  require_dense(source.shape(), source.is_contiguous(), local_shape(mesh, global, from), "source");
  require_dense(target.shape(), target.is_contiguous(), local_shape(mesh, global, to), "target");
  redistribute(mesh, global, dtype_of<T>, source.data(), from, target.data(), to);
}

}  // namespace shoal
