#include "mpi_transport.hpp"

#include <mpi.h>

#include <map>
#include <set>

namespace shoal::launch {

std::string mpi_transport() {
  // Open MPI names a component's variables FRAMEWORK_COMPONENT_...; those of components that it has
  // closed are gone after MPI_Init.
  std::map<std::string, std::set<std::string>> components;
  int provided = 0;
  if (MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) != MPI_SUCCESS) return {};
  int count = 0;
  MPI_T_cvar_get_num(&count);
  for (int i = 0; i < count; ++i) {
    char name[256];
    int name_length = sizeof name;
    int verbosity = 0, bind = 0, scope = 0, description_length = 0;
    MPI_Datatype type = MPI_DATATYPE_NULL;
    MPI_T_enum choices = MPI_T_ENUM_NULL;
    if (MPI_T_cvar_get_info(i, name, &name_length, &verbosity, &type, &choices, nullptr,
                            &description_length, &bind, &scope) != MPI_SUCCESS) {
      continue;
    }
    const std::string text = name;
    for (const char* framework : {"pml", "mtl", "btl"}) {
      const std::string prefix = std::string(framework) + '_';
      const std::size_t end = text.find('_', prefix.size());
      if (text.rfind(prefix, 0) != 0 || end == std::string::npos) continue;
      const std::string component = text.substr(prefix.size(), end - prefix.size());
      if (component != "base") components[framework].insert(component);
    }
  }
  MPI_T_finalize();
  std::string out;
  for (const char* framework : {"pml", "mtl", "btl"}) {
    const auto& names = components[framework];
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
