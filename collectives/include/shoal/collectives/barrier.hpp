// Barrier: nobody leaves before everybody has come.
#pragma once

#include <shoal/collectives/options.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal {

/// Returns once every rank of `comm` has called it. What a rank wrote before, others see after.
void barrier(const Communicator& comm, const CollectiveOptions& options = {});

}  // namespace shoal
