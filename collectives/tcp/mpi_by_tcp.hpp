// What MPI itself sends by.
#pragma once

namespace shoal::tcp {

/// Whether MPI reaches other nodes by TCP only: then connections of our own are as good a way, without
/// its copies. Where it has a faster network it is the one to ask. Looks once.
bool mpi_sends_by_tcp();

}  // namespace shoal::tcp
