// Fortran's names of the same functions. Open MPI's own go straight to PMPI, past ours in C.
//
// mpif.h and `use mpi` call mpi_allreduce_ (or what the compiler makes of the name), `use mpi_f08`
// ends in ompi_allreduce_f. Handles are converted, and the places that stand for MPI_IN_PLACE and
// MPI_BOTTOM in Fortran recognised by their address.
#include <dlfcn.h>
#include <mpi.h>

#include <algorithm>
#include <array>

#include "preload/preload.hpp"

namespace {

// The address of a variable of Open MPI's Fortran library under any of the names a compiler gives
// it.
class Sentinel {
 public:
  explicit Sentinel(const std::array<const char*, 4>& names) {
    std::transform(names.begin(), names.end(), addresses_.begin(),
                   [](const char* name) { return dlsym(RTLD_DEFAULT, name); });
  }
  bool is(const void* address) const noexcept {
    return address != nullptr &&
           std::find(addresses_.begin(), addresses_.end(), address) != addresses_.end();
  }

 private:
  std::array<void*, 4> addresses_;
};

template <class Pointer>
Pointer in_c(Pointer buffer) {
  static const Sentinel in_place({"mpi_fortran_in_place_", "mpi_fortran_in_place__",
                                  "mpi_fortran_in_place", "MPI_FORTRAN_IN_PLACE"});
  static const Sentinel bottom(
      {"mpi_fortran_bottom_", "mpi_fortran_bottom__", "mpi_fortran_bottom", "MPI_FORTRAN_BOTTOM"});
  if (in_place.is(buffer)) return static_cast<Pointer>(MPI_IN_PLACE);
  if (bottom.is(buffer)) return static_cast<Pointer>(MPI_BOTTOM);
  return buffer;
}

void give(MPI_Fint* error, int code) {
  if (error != nullptr) *error = static_cast<MPI_Fint>(code);
}

}  // namespace

// All names of one function: those of Fortran compilers, and Open MPI's for `use mpi_f08`.
#define SHOAL_FORTRAN(lower, upper, parameters)                                            \
  SHOAL_EXPORT void mpi_##lower##_ parameters;                                             \
  SHOAL_EXPORT void mpi_##lower##__ parameters __attribute__((alias("mpi_" #lower "_")));  \
  SHOAL_EXPORT void mpi_##lower parameters __attribute__((alias("mpi_" #lower "_")));      \
  SHOAL_EXPORT void MPI_##upper parameters __attribute__((alias("mpi_" #lower "_")));      \
  SHOAL_EXPORT void ompi_##lower##_f parameters __attribute__((alias("mpi_" #lower "_"))); \
  void mpi_##lower##_ parameters

extern "C" {

SHOAL_FORTRAN(init, INIT, (MPI_Fint * error)) { give(error, MPI_Init(nullptr, nullptr)); }

SHOAL_FORTRAN(init_thread, INIT_THREAD,
              (MPI_Fint * required, MPI_Fint* provided, MPI_Fint* error)) {
  int granted = 0;
  give(error, MPI_Init_thread(nullptr, nullptr, *required, &granted));
  *provided = granted;
}

SHOAL_FORTRAN(finalize, FINALIZE, (MPI_Fint * error)) { give(error, MPI_Finalize()); }

SHOAL_FORTRAN(allreduce, ALLREDUCE,
              (const void* in, void* out, MPI_Fint* count, MPI_Fint* type, MPI_Fint* op,
               MPI_Fint* comm, MPI_Fint* error)) {
  give(error, MPI_Allreduce(in_c(in), in_c(out), *count, MPI_Type_f2c(*type), MPI_Op_f2c(*op),
                            MPI_Comm_f2c(*comm)));
}

SHOAL_FORTRAN(iallreduce, IALLREDUCE,
              (const void* in, void* out, MPI_Fint* count, MPI_Fint* type, MPI_Fint* op,
               MPI_Fint* comm, MPI_Fint* request, MPI_Fint* error)) {
  MPI_Request made = MPI_REQUEST_NULL;
  const int code = MPI_Iallreduce(in_c(in), in_c(out), *count, MPI_Type_f2c(*type),
                                  MPI_Op_f2c(*op), MPI_Comm_f2c(*comm), &made);
  if (code == MPI_SUCCESS) *request = PMPI_Request_c2f(made);
  give(error, code);
}

SHOAL_FORTRAN(reduce_scatter, REDUCE_SCATTER,
              (const void* in, void* out, MPI_Fint* counts, MPI_Fint* type, MPI_Fint* op,
               MPI_Fint* comm, MPI_Fint* error)) {
  static_assert(sizeof(MPI_Fint) == sizeof(int));
  give(error, MPI_Reduce_scatter(in_c(in), in_c(out), counts, MPI_Type_f2c(*type), MPI_Op_f2c(*op),
                                 MPI_Comm_f2c(*comm)));
}

SHOAL_FORTRAN(reduce_scatter_block, REDUCE_SCATTER_BLOCK,
              (const void* in, void* out, MPI_Fint* count, MPI_Fint* type, MPI_Fint* op,
               MPI_Fint* comm, MPI_Fint* error)) {
  give(error, MPI_Reduce_scatter_block(in_c(in), in_c(out), *count, MPI_Type_f2c(*type),
                                       MPI_Op_f2c(*op), MPI_Comm_f2c(*comm)));
}

SHOAL_FORTRAN(allgather, ALLGATHER,
              (const void* in, MPI_Fint* in_count, MPI_Fint* in_type, void* out,
               MPI_Fint* out_count, MPI_Fint* out_type, MPI_Fint* comm, MPI_Fint* error)) {
  give(error, MPI_Allgather(in_c(in), *in_count, MPI_Type_f2c(*in_type), in_c(out), *out_count,
                            MPI_Type_f2c(*out_type), MPI_Comm_f2c(*comm)));
}

SHOAL_FORTRAN(bcast, BCAST,
              (void* data, MPI_Fint* count, MPI_Fint* type, MPI_Fint* root, MPI_Fint* comm,
               MPI_Fint* error)) {
  give(error, MPI_Bcast(in_c(data), *count, MPI_Type_f2c(*type), *root, MPI_Comm_f2c(*comm)));
}

SHOAL_FORTRAN(alltoall, ALLTOALL,
              (const void* in, MPI_Fint* in_count, MPI_Fint* in_type, void* out,
               MPI_Fint* out_count, MPI_Fint* out_type, MPI_Fint* comm, MPI_Fint* error)) {
  give(error, MPI_Alltoall(in_c(in), *in_count, MPI_Type_f2c(*in_type), in_c(out), *out_count,
                           MPI_Type_f2c(*out_type), MPI_Comm_f2c(*comm)));
}

SHOAL_FORTRAN(barrier, BARRIER, (MPI_Fint * comm, MPI_Fint* error)) {
  give(error, MPI_Barrier(MPI_Comm_f2c(*comm)));
}

}  // extern "C"
