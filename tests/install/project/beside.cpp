// A program that has MPI and OpenMP of its own, and hands a communicator in.
#include <mpi.h>
#include <omp.h>

#include <cstdio>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/runtime.hpp>

int main() {
  int granted = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &granted);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm mine = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, 0, -rank, &mine);  // the other way round
  double sum = 0;
#pragma omp parallel for num_threads(2) reduction(+ : sum)
  for (int i = 0; i < 100; ++i) sum += i;
  {
    const shoal::Runtime runtime;
    const shoal::Communicator comm = shoal::adopt_communicator(mine, "mine");
    shoal::all_reduce(comm, &sum, &sum, 1, shoal::DType::f64, shoal::ReduceOp::sum);
    if (rank == 0) std::printf("%.0f beside MPI and OpenMP, as rank %d\n", sum, comm.rank());
  }
  int total = 1;
  MPI_Allreduce(MPI_IN_PLACE, &total, 1, MPI_INT, MPI_SUM, mine);  // MPI is still the program's
  MPI_Comm_free(&mine);
  MPI_Finalize();
  return total > 0 ? 0 : 1;
}
