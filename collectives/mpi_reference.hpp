// Our types and operations in MPI's terms, for the reference algorithms.
#pragma once

#include <mpi.h>

#include <shoal/collectives/registry.hpp>

namespace shoal {

MPI_Datatype mpi_type(DType type);
/// An average is a sum here: finish_average does the rest. bf16 and f16 have operations of our own.
MPI_Op mpi_op(DType type, ReduceOp op);
/// Empty if MPI 3's int counts can express the call.
std::string why_not_mpi(const Call& call);
/// Counts as ints.
std::vector<int> int_counts(std::span<const Index> counts);

}  // namespace shoal
