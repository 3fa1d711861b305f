#include "preload/pack.hpp"

#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>

namespace shoal::preload {
namespace {

void require_all(int position, Bytes bytes) {
  if (static_cast<Bytes>(position) == bytes) return;
  throw Error("pack", "MPI packs " + std::to_string(position) + " bytes of data of " +
                          std::to_string(bytes));
}

}  // namespace

void pack(const void* from, int count, MPI_Datatype type, void* to, Bytes bytes, MPI_Comm comm) {
  int position = 0;
  check_mpi(PMPI_Pack(from, count, type, to, static_cast<int>(bytes), &position, comm), "pack");
  require_all(position, bytes);
}

void unpack(const void* from, Bytes bytes, void* to, int count, MPI_Datatype type, MPI_Comm comm) {
  int position = 0;
  check_mpi(PMPI_Unpack(from, static_cast<int>(bytes), &position, to, count, type, comm), "unpack");
  require_all(position, bytes);
}

const void* element_at(const void* data, Index number, MPI_Datatype type) {
  MPI_Aint lower = 0, extent = 0;
  check_mpi(PMPI_Type_get_extent(type, &lower, &extent), "pack");
  return static_cast<const std::byte*>(data) + number * static_cast<Index>(extent);
}

void* element_at(void* data, Index number, MPI_Datatype type) {
  return const_cast<void*>(element_at(static_cast<const void*>(data), number, type));
}

}  // namespace shoal::preload
