/* A plain MPI program, knowing nothing of Shoal, whose calls pass 2^31 bytes, or 2^31 elements in all:
 * what a count of 31 bits still allows. For two ranks and 10 GiB. Every element is looked at. */
#include <limits.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"

static int ranks;

/* 0 to 63, other numbers wherever a place is off by a power of two. */
static int value(int from, int64_t i) {
  return (int)((((uint64_t)i * 2 + (uint64_t)from) * seed) >> 58);
}
static int sum(int64_t i) { return value(0, i) + value(1, i); }

static void* allocated(size_t bytes) {
  void* data = malloc(bytes);
  CHECK(data != NULL);
  memset(data, 0xa5, bytes);
  return data;
}

static double* filled(int64_t count) {
  double* data = allocated((size_t)count * sizeof *data);
  for (int64_t i = 0; i < count; ++i) data[i] = value(world_rank, i);
  return data;
}

static int64_t wrong_sums(const double* got, int64_t first, int64_t count) {
  int64_t wrong = 0;
  for (int64_t i = 0; i < count; ++i) wrong += got[i] != sum(first + i);
  return wrong;
}
static int64_t wrong_copies(const double* got, int from, int64_t first, int64_t count) {
  int64_t wrong = 0;
  for (int64_t i = 0; i < count; ++i) wrong += got[i] != value(from, first + i);
  return wrong;
}

enum { whole = (1 << 28) + 77, half = (1 << 27) + 39, rest = 5 };

static void reductions(void) {
  double* in = filled(whole);
  double* out = allocated(sizeof(double) * whole);
  DO(MPI_Allreduce(in, out, whole, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD));
  CHECK(wrong_sums(out, 0, whole) == 0);
  CHECK(wrong_copies(in, world_rank, 0, whole) == 0);
  free(out);
  DO(MPI_Allreduce(MPI_IN_PLACE, in, whole, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD));
  CHECK(wrong_sums(in, 0, whole) == 0);
  free(in);

  in = filled(whole);
  MPI_Request request;
  DO(MPI_Iallreduce(MPI_IN_PLACE, in, whole, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD, &request));
  DO(MPI_Wait(&request, MPI_STATUS_IGNORE));
  CHECK(wrong_sums(in, 0, whole) == 0);
  free(in);

  /* The block of rank 1 starts behind 2^31 bytes. */
  const int counts[2] = {whole, rest};
  in = filled(whole + rest);
  out = allocated(sizeof(double) * (size_t)counts[world_rank]);
  DO(MPI_Reduce_scatter(in, out, counts, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD));
  CHECK(wrong_sums(out, world_rank == 0 ? 0 : whole, counts[world_rank]) == 0);
  free(out);
  DO(MPI_Reduce_scatter(MPI_IN_PLACE, in, counts, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD));
  CHECK(wrong_sums(in, world_rank == 0 ? 0 : whole, counts[world_rank]) == 0);
  free(in);

  in = filled(2 * (int64_t)half);
  out = allocated(sizeof(double) * half);
  DO(MPI_Reduce_scatter_block(in, out, half, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD));
  CHECK(wrong_sums(out, (int64_t)world_rank * half, half) == 0);
  free(out);
  free(in);
}

static void movements(void) {
  double* data = world_rank == 1 ? filled(whole) : allocated(sizeof(double) * whole);
  DO(MPI_Bcast(data, whole, MPI_DOUBLE, 1, MPI_COMM_WORLD));
  CHECK(wrong_copies(data, 1, 0, whole) == 0);
  free(data);

  double* in = filled(half);
  double* out = allocated(sizeof(double) * 2 * half);
  DO(MPI_Allgather(in, half, MPI_DOUBLE, out, half, MPI_DOUBLE, MPI_COMM_WORLD));
  for (int from = 0; from < 2; ++from) CHECK(wrong_copies(out + from * half, from, 0, half) == 0);
  free(out);
  free(in);

  in = filled(2 * (int64_t)half);
  out = allocated(sizeof(double) * 2 * half);
  DO(MPI_Alltoall(in, half, MPI_DOUBLE, out, half, MPI_DOUBLE, MPI_COMM_WORLD));
  for (int from = 0; from < 2; ++from) {
    CHECK(wrong_copies(out + from * half, from, (int64_t)world_rank * half, half) == 0);
  }
  free(out);
  free(in);

  /* Twice as many elements as an int counts, in place. */
  const size_t bytes = INT_MAX;
  signed char* all = allocated(2 * bytes);
  for (size_t i = 0; i < bytes; ++i) {
    all[(size_t)world_rank * bytes + i] = (signed char)value(world_rank, (int64_t)i);
  }
  DO(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, INT_MAX, MPI_SIGNED_CHAR,
                   MPI_COMM_WORLD));
  int64_t wrong = 0;
  for (int from = 0; from < 2; ++from) {
    for (size_t i = 0; i < bytes; ++i) {
      wrong += all[(size_t)from * bytes + i] != value(from, (int64_t)i);
    }
  }
  CHECK(wrong == 0);
  free(all);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const char* text = getenv("SHOAL_TEST_SEED");
  seed = (text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 0x9e3779b97f4a7c15u) | 1;
  PMPI_Bcast(&seed, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
  CHECK(ranks == 2);
  reductions();
  movements();
  if (world_rank == 0) printf("all right, seed %llu\n", (unsigned long long)seed);
  MPI_Finalize();
  return 0;
}
