#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>

namespace shoal {

void check_mpi(int code, const char* operation) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw PeerError(operation, "MPI reports: " + std::string(text, static_cast<std::size_t>(length)),
                  "see whether all ranks are alive and reach each other");
}

}  // namespace shoal
