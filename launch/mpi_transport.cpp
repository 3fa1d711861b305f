#include "mpi_transport.hpp"

#include <set>

#include <shoal/runtime/mpi_interop.hpp>

namespace shoal::launch {

std::string mpi_transport() {
  std::string out;
  for (const char* framework : {"pml", "mtl", "btl"}) {
    const std::set<std::string> names = mpi_components(framework);
    if (names.empty()) continue;
    out += (out.empty() ? "" : "; ") + std::string(framework);
    const char* separator = " ";
    for (const std::string& name : names) {
      out += separator + name;
      separator = ", ";
    }
  }
  return out;
}

}  // namespace shoal::launch
