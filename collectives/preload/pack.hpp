// Elements of derived types as one run of bytes, in the order in which MPI would send them.
#pragma once

#include <mpi.h>

#include <cstddef>

#include <shoal/runtime/units.hpp>

namespace shoal::preload {

/// `count` elements, of `bytes` in all, at most INT_MAX. Throw Error if MPI does not.
void pack(const void* from, int count, MPI_Datatype type, void* to, Bytes bytes, MPI_Comm comm);
void unpack(const void* from, Bytes bytes, void* to, int count, MPI_Datatype type, MPI_Comm comm);

/// Where element `number` of an array lies.
const void* element_at(const void* data, Index number, MPI_Datatype type);
void* element_at(void* data, Index number, MPI_Datatype type);

}  // namespace shoal::preload
