// How MPI moves messages here.
#pragma once

#include <string>

namespace shoal::launch {

/// The point-to-point components that this process's MPI has opened, read from the names of its
/// control variables (MPI_T): "pml ob1; btl self, tcp, vader" for Open MPI. Empty where MPI tells
/// nothing of the kind.
std::string mpi_transport();

}  // namespace shoal::launch
