/* How these programs end if something is not as it should be: all ranks do, and say where and with which seed. */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>

static uint64_t seed;
static int world_rank;

static void stop_at(int line, const char* what) {
  fprintf(stderr, "rank %d, line %d: %s (seed %llu)\n", world_rank, line, what,
          (unsigned long long)seed);
  MPI_Abort(MPI_COMM_WORLD, 1);
}
#define CHECK(condition)                             \
  do {                                               \
    if (!(condition)) stop_at(__LINE__, #condition); \
  } while (0)
#define DO(call) CHECK((call) == MPI_SUCCESS)
