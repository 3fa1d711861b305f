// Every algorithm that Open MPI can be forced to take, in the process of the bench.
#pragma once

#include <string>
#include <vector>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// A communicator on which MPI takes one algorithm for one operation.
struct Forced {
  std::string name;  ///< as Open MPI calls it: "recursive_doubling"
  Communicator comm;
};

/// What --mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_OPERATION_algorithm N does, for each N:
/// Open MPI reads the second one when a communicator is made, and it can be written while it runs (MPI_T,
/// MPI 3.1 chapter 14.3); the first one must be set before MPI starts. Throws UsageError where it is not,
/// or where there are no such variables (another MPI, or another module for its collectives).
/// Collective.
std::vector<Forced> forced_algorithms(const Communicator& world, Operation operation);

}  // namespace shoal::bench
