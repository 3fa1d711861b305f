# find_package(shoal 0.1 REQUIRED): shoal::shoal, or the parts shoal::runtime, shoal::collectives,
# shoal::kernels_local, shoal::kernels, shoal::models, and shoal::c for C. Whoever includes
# <shoal/runtime/mpi_interop.hpp> also wants MPI::MPI_C.
include(${CMAKE_CURRENT_LIST_DIR}/shoalTargets.cmake)
