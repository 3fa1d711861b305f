/* A plain MPI program, built against MPI alone: the mean of numbers that all ranks hold a part of. Start
 * it with libshoal_pmpi.so in LD_PRELOAD, and its MPI_Allreduce is Shoal's. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank, ranks;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);

  const int count = 1 << 20;
  double* sums = malloc(count * sizeof *sums);
  if (sums == NULL) MPI_Abort(MPI_COMM_WORLD, 1);
  for (int i = 0; i < count; ++i) sums[i] = i + rank;
  MPI_Allreduce(MPI_IN_PLACE, sums, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  if (rank == 0) printf("%d ranks: mean[1000] = %.2f\n", ranks, sums[1000] / ranks);
  free(sums);
  MPI_Finalize();
  return 0;
}
