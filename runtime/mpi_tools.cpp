#include <mpi.h>

#include <set>
#include <string>
#include <string_view>

#include <shoal/runtime/mpi_interop.hpp>

namespace shoal {

MpiTools::MpiTools() {
  // Open MPI takes the level asked for here for that of the process from now on.
  int level = MPI_THREAD_SINGLE;
  int provided = 0;
  MPI_Query_thread(&level);
  good_ = MPI_T_init_thread(level, &provided) == MPI_SUCCESS;
}

MpiTools::~MpiTools() {
  if (good_) MPI_T_finalize();
}

// Open MPI names a component's variables FRAMEWORK_COMPONENT_...; those of components that it has
// closed are gone once MPI has started.
std::set<std::string> mpi_components(std::string_view framework) {
  std::set<std::string> components;
  const MpiTools tools;
  if (!tools) return components;
  const std::string prefix = std::string(framework) + '_';
  int count = 0;
  MPI_T_cvar_get_num(&count);
  for (int i = 0; i < count; ++i) {
    char text[256];
    int length = sizeof text;
    int verbosity = 0, bind = 0, scope = 0, description_length = 0;
    MPI_Datatype type = MPI_DATATYPE_NULL;
    MPI_T_enum choices = MPI_T_ENUM_NULL;
    if (MPI_T_cvar_get_info(i, text, &length, &verbosity, &type, &choices, nullptr,
                            &description_length, &bind, &scope) != MPI_SUCCESS) {
      continue;
    }
    std::string_view name = text;
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    const std::size_t end = name.find('_');
    if (end == std::string_view::npos) continue;
    name = name.substr(0, end);
    if (name != "base") components.emplace(name);
  }
  return components;
}

}  // namespace shoal
