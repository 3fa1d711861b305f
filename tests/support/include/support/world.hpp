// The run that a test takes part in.
#pragma once

#include <shoal/runtime/communicator.hpp>

namespace shoal::testing {

/// All ranks of the test, for tests made by shoal_add_mpi_test. The Runtime behind it is made
/// before the first test and lives until after the last.
const Communicator& world();

}  // namespace shoal::testing
