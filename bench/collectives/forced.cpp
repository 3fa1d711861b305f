#include "collectives/forced.hpp"

#include <mpi.h>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>

namespace shoal::bench {
namespace {

constexpr const char* rules_variable = "coll_tuned_use_dynamic_rules";

const char* name_in_mpi(Operation operation) {
  switch (operation) {
    case Operation::all_reduce: return "allreduce";
    case Operation::reduce_scatter: return "reduce_scatter_block";
    case Operation::all_gather: return "allgather";
    case Operation::broadcast: return "bcast";
    case Operation::all_to_all: return "alltoall";
    case Operation::barrier: return "barrier";
  }
  return "";
}

// A control variable of MPI that holds a whole number.
class Variable {
 public:
  explicit Variable(const std::string& name) {
    int index = 0;
    int count = 0;
    if (MPI_T_cvar_get_index(name.c_str(), &index) != MPI_SUCCESS ||
        MPI_T_cvar_handle_alloc(index, nullptr, &handle_, &count) != MPI_SUCCESS || count != 1) {
      throw UsageError("--peers forced", "this MPI has no variable " + name,
                       "it takes Open MPI with its module tuned");
    }
    char text[256];
    int length = sizeof text, verbosity = 0, described = 0, bind = 0, scope = 0;
    MPI_Datatype type = MPI_DATATYPE_NULL;
    MPI_T_cvar_get_info(index, text, &length, &verbosity, &type, &values_, nullptr, &described, &bind,
                        &scope);
    MPI_T_cvar_read(handle_, &before_);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() {
    if (changed_) MPI_T_cvar_write(handle_, &before_);
    MPI_T_cvar_handle_free(&handle_);
  }

  void set(int value) {
    changed_ = true;
    if (MPI_T_cvar_write(handle_, &value) != MPI_SUCCESS) {
      throw UsageError("--peers forced", "this MPI does not let its algorithms be chosen while it runs");
    }
  }
  bool is_set() const { return (before_ & 0xff) != 0; }  // of a truth value, which is a byte
  // The values it may take, with their names.
  std::vector<std::pair<int, std::string>> values() const {
    std::vector<std::pair<int, std::string>> all;
    int count = 0;
    char name[256];
    int length = sizeof name;
    if (values_ == MPI_T_ENUM_NULL ||
        MPI_T_enum_get_info(values_, &count, name, &length) != MPI_SUCCESS) {
      return all;
    }
    for (int i = 0; i < count; ++i) {
      int value = 0;
      length = sizeof name;
      if (MPI_T_enum_get_item(values_, i, &value, name, &length) == MPI_SUCCESS) {
        all.emplace_back(value, name);
      }
    }
    return all;
  }

 private:
  MPI_T_cvar_handle handle_ = MPI_T_CVAR_HANDLE_NULL;
  MPI_T_enum values_ = MPI_T_ENUM_NULL;
  int before_ = 0;
  bool changed_ = false;
};

}  // namespace

std::vector<Forced> forced_algorithms(const Communicator& world, Operation operation) {
  const MpiTools tools;
  if (!Variable(rules_variable).is_set()) {
    throw UsageError("--peers forced", std::string("MPI has started without ") + rules_variable,
                     std::string("set OMPI_MCA_") + rules_variable + "=1 on all ranks");
  }
  Variable algorithm(fmt::format("coll_tuned_{}_algorithm", name_in_mpi(operation)));
  std::vector<Forced> all;
  for (const auto& [number, name] : algorithm.values()) {
    if (number == 0) continue;  // its own choice
    if (name == "two_proc" && world.size() != 2) continue;
    algorithm.set(number);
    all.push_back({name, world.duplicate("MPI's " + name)});
  }
  return all;
}

}  // namespace shoal::bench
