#include "tcp/mpi_by_tcp.hpp"

#include <mpi.h>

#include <string>
#include <string_view>

namespace shoal::tcp {
namespace {

// "tcp" of "btl_tcp_links"; empty if it is no variable of a component of that framework.
std::string_view component_of(std::string_view variable, std::string_view framework) {
  if (!variable.starts_with(framework)) return {};
  variable.remove_prefix(framework.size());
  const std::size_t end = variable.find('_');
  return end == std::string_view::npos ? std::string_view() : variable.substr(0, end);
}

// Open MPI's components that are in use have variables named after them; those of others are gone once
// MPI has started. Another MPI has none of these, and keeps its own way.
bool look() {
  // Open MPI takes the level asked for here for that of the process from now on.
  int level = MPI_THREAD_SINGLE;
  int provided = 0;
  MPI_Query_thread(&level);
  if (MPI_T_init_thread(level, &provided) != MPI_SUCCESS) return false;
  bool ob1 = false;
  bool tcp = false;
  bool other = false;
  int count = 0;
  MPI_T_cvar_get_num(&count);
  for (int i = 0; i < count; ++i) {
    char name[256];
    int length = sizeof name;
    int verbosity = 0, bind = 0, scope = 0, description_length = 0;
    MPI_Datatype type = MPI_DATATYPE_NULL;
    MPI_T_enum choices = MPI_T_ENUM_NULL;
    if (MPI_T_cvar_get_info(i, name, &length, &verbosity, &type, &choices, nullptr,
                            &description_length, &bind, &scope) != MPI_SUCCESS) {
      continue;
    }
    const std::string_view pml = component_of(name, "pml_");
    if (!pml.empty() && pml != "base") (pml == "ob1" ? ob1 : other) = true;
    const std::string_view btl = component_of(name, "btl_");
    if (btl == "tcp") tcp = true;
    const bool known = btl.empty() || btl == "base" || btl == "tcp" || btl == "self" ||
                       btl == "vader" || btl == "sm" || btl == "smcuda";
    other = other || !known;
  }
  MPI_T_finalize();
  return ob1 && tcp && !other;
}

}  // namespace

bool mpi_sends_by_tcp() {
  static const bool answer = look();
  return answer;
}

}  // namespace shoal::tcp
