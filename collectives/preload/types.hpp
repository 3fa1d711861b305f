// MPI's built-in types and operators, as Shoal knows them.
#pragma once

#include <mpi.h>

#include <optional>

#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/reduce_op.hpp>

namespace shoal::preload {

/// How `count` elements of an MPI type are reduced: as `count` * `parts` of `type`.
struct Reduction {
  DType type;
  ReduceOp op;
  int parts;
};

/// Nothing if Shoal does not do this operator on this type exactly as MPI promises it.
std::optional<Reduction> reduction_of(MPI_Datatype type, MPI_Op op) noexcept;

/// Bytes of `count` elements; nothing for a count or type that MPI would refuse.
std::optional<Bytes> bytes_of(int count, MPI_Datatype type) noexcept;

/// True if an element is one run of bytes and the next follows at once: what Shoal can move as it
/// is. Only for built-in types: one derived from them may order its bytes otherwise than they lie.
bool is_plain(MPI_Datatype type) noexcept;

/// Before the others.
void start_types();

}  // namespace shoal::preload
