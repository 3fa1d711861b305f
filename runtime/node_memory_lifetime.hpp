// Start and end of the node's shared memory, for the Runtime.
#pragma once

#include <mpi.h>

#include <memory>

#include "communicator_impl.hpp"

namespace shoal::node_memory {

/// Makes this rank's heap and maps those of the node's other ranks. Collective over `node`, the
/// ranks of this node. Never throws for what the system refuses: available() is then false.
void start(MPI_Comm node, std::shared_ptr<const WorldTable> table);
/// Ends it. Memory that is still in use stays mapped until the process ends.
void stop() noexcept;

}  // namespace shoal::node_memory
