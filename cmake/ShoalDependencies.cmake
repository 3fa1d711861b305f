# Every library from outside. The packages that hold them are listed in launch/lib/setup.sh.
include_guard()

find_package(MPI REQUIRED COMPONENTS C)
# Without the C++ bindings that MPI 3 removed: their inline classes would need a library we do not link.
target_compile_definitions(MPI::MPI_C INTERFACE OMPI_SKIP_MPICXX=1 MPICH_SKIP_MPICXX=1)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
pkg_check_modules(hwloc REQUIRED IMPORTED_TARGET hwloc)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)

# OpenBLAS in its OpenMP build, so that its threads are the ones our own kernels run on: two pools
# of threads on the same cores would fight. Debian keeps it in a folder of its own.
find_path(OPENBLAS_INCLUDE_DIR cblas.h
  PATH_SUFFIXES ${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp openblas-openmp openblas REQUIRED)
find_library(OPENBLAS_LIBRARY NAMES openblas
  PATH_SUFFIXES openblas-openmp REQUIRED)
add_library(shoal_openblas INTERFACE IMPORTED)
target_include_directories(shoal_openblas SYSTEM INTERFACE ${OPENBLAS_INCLUDE_DIR})
target_link_libraries(shoal_openblas INTERFACE ${OPENBLAS_LIBRARY} OpenMP::OpenMP_CXX)

# oneDNN without its CMake package: the one that Debian ships asks for OpenCL, which we do not use.
find_path(ONEDNN_INCLUDE_DIR dnnl.hpp REQUIRED)
find_library(ONEDNN_LIBRARY NAMES dnnl REQUIRED)
add_library(shoal_onednn INTERFACE IMPORTED)
target_include_directories(shoal_onednn SYSTEM INTERFACE ${ONEDNN_INCLUDE_DIR})
target_link_libraries(shoal_onednn INTERFACE ${ONEDNN_LIBRARY})
