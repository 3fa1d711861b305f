/* How fast are MPI's collectives with libshoal_pmpi.so loaded, and without? In one process and in
 * turns: MPI_X is Shoal's under LD_PRELOAD, PMPI_X always MPI's own, on buffers that the library knows nothing of.
 *
 *     mpirun -n 2 -x LD_PRELOAD=lib/libshoal_pmpi.so bin/preload_bench [operation [least [most]]]
 *
 * Times are those of the slowest rank, in microseconds; sizes are bytes of a rank's buffer. Of both
 * the median and the least are printed: where other programs share the machine the median tells what
 * a user sees, the least what the code can do. A plain MPI program, knows nothing of Shoal. */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { most_rounds = 101, fewest_rounds = 9 };
static const double seconds_a_size = 0.6;
/* Seconds of calls in a row, timed together: on one node; over several, where ranks leave a barrier
 * as far apart as a short call takes; and of calls long enough for the links' rate to be what
 * counts. There the calls before them, untimed, take as long: a link that lets a burst pass after a
 * pause is then timed at the rate that it keeps (bench/timing.hpp). */
static const double batch_here = 500e-6, batch_between = 4e-3, batch_settled = 24e-3;
static const double long_call = 200e-6;
static int several_nodes;
/* So many calls before, so that the caches hold what they hold in a loop of such calls, and not what the
 * other library left there: data as large as a cache takes several calls to settle in it. */
static const double settling = 8e-3;
enum { untimed = 2, most_untimed = 16, most_repeats = 1000 };

static double batch(double estimate) {
  if (!several_nodes) return batch_here;
  return estimate > long_call ? batch_settled : batch_between;
}

typedef struct {
  float* in;
  float* out;
  int count; /* elements of `in`; a multiple of the ranks */
  int ranks;
  long work; /* of compute() */
} Data;

static void all_reduce(const Data* d, int mpi) {
  if (mpi) PMPI_Allreduce(d->in, d->out, d->count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  else MPI_Allreduce(d->in, d->out, d->count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

/* Something to do that needs the processor and nothing else: the same work takes longer the less of the
 * processor there is. */
static volatile double computed;
static void compute(long work) {
  double x = computed;
  for (long i = 0; i < work; ++i) x = x * 0.999999 + 1e-6;
  computed = x;
}

/* Waited for after a computation, which the others' data may cross. */
static void all_reduce_beside(const Data* d, int mpi) {
  MPI_Request request;
  if (mpi) PMPI_Iallreduce(d->in, d->out, d->count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &request);
  else MPI_Iallreduce(d->in, d->out, d->count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &request);
  compute(d->work);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
}

/* Waited for at once: what it costs where nothing is computed meanwhile. */
static void all_reduce_later(const Data* d, int mpi) {
  Data idle = *d;
  idle.work = 0;
  all_reduce_beside(&idle, mpi);
}

static void reduce_scatter(const Data* d, int mpi) {
  const int each = d->count / d->ranks;
  if (mpi) PMPI_Reduce_scatter_block(d->in, d->out, each, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  else MPI_Reduce_scatter_block(d->in, d->out, each, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

static void all_gather(const Data* d, int mpi) {
  const int each = d->count / d->ranks;
  if (mpi) PMPI_Allgather(d->in, each, MPI_FLOAT, d->out, each, MPI_FLOAT, MPI_COMM_WORLD);
  else MPI_Allgather(d->in, each, MPI_FLOAT, d->out, each, MPI_FLOAT, MPI_COMM_WORLD);
}

static void all_to_all(const Data* d, int mpi) {
  const int each = d->count / d->ranks;
  if (mpi) PMPI_Alltoall(d->in, each, MPI_FLOAT, d->out, each, MPI_FLOAT, MPI_COMM_WORLD);
  else MPI_Alltoall(d->in, each, MPI_FLOAT, d->out, each, MPI_FLOAT, MPI_COMM_WORLD);
}

static void all_to_all_in_place(const Data* d, int mpi) {
  const int each = d->count / d->ranks;
  void* const same = MPI_IN_PLACE;
  if (mpi) PMPI_Alltoall(same, each, MPI_FLOAT, d->out, each, MPI_FLOAT, MPI_COMM_WORLD);
  else MPI_Alltoall(same, each, MPI_FLOAT, d->out, each, MPI_FLOAT, MPI_COMM_WORLD);
}

/* From a rank that changes, so that nobody runs ahead of the others. */
static void broadcast(const Data* d, int mpi) {
  static int root[2] = {0, 0};
  root[mpi] = (root[mpi] + 1) % d->ranks;
  if (mpi) PMPI_Bcast(d->in, d->count, MPI_FLOAT, root[mpi], MPI_COMM_WORLD);
  else MPI_Bcast(d->in, d->count, MPI_FLOAT, root[mpi], MPI_COMM_WORLD);
}

static void barrier(const Data* d, int mpi) {
  (void)d;
  if (mpi) PMPI_Barrier(MPI_COMM_WORLD);
  else MPI_Barrier(MPI_COMM_WORLD);
}

typedef void (*Operation)(const Data*, int);

static double time_of(Operation operation, const Data* data, int mpi, int before, int times) {
  for (int i = 0; i < before; ++i) operation(data, mpi);
  PMPI_Barrier(MPI_COMM_WORLD);
  const double start = MPI_Wtime();
  for (int i = 0; i < times; ++i) operation(data, mpi);
  double mine = (MPI_Wtime() - start) / times, slowest = 0;
  PMPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return slowest;
}

/* What computes for `seconds` while all ranks do, the same on all. */
static long work_of(double seconds) {
  long work = 1000;
  double took = 0;
  while (took < 2e-3) {
    work *= 2;
    PMPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    compute(work);
    took = MPI_Wtime() - start;
    PMPI_Allreduce(MPI_IN_PLACE, &took, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  }
  work = (long)((double)work * seconds / took);
  PMPI_Bcast(&work, 1, MPI_LONG, 0, MPI_COMM_WORLD);
  return work;
}

static int calls_before(double estimate, int repeat) {
  if (several_nodes) return repeat > untimed ? repeat : untimed;
  const double calls = settling / estimate;
  return calls < untimed ? untimed : calls > most_untimed ? most_untimed : (int)calls;
}

static int by_value(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return x < y ? -1 : x > y;
}

/* What the program would have without the library; and what comes from its allocator. */
static float* buffer_of(size_t bytes, int mpi) {
  float* buffer = NULL;
  if (!mpi) buffer = malloc(bytes);
  else buffer = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer == NULL || (void*)buffer == MAP_FAILED) {
    fprintf(stderr, "no memory for %zu bytes\n", bytes);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  return buffer;
}

static Data data_of(size_t bytes, int count, int ranks, int rank, int mpi) {
  Data data = {buffer_of(bytes, mpi), buffer_of(bytes, mpi), count, ranks, 0};
  for (size_t i = 0; i < bytes / sizeof(float); ++i) {
    data.in[i] = (float)(i % 100) + (float)rank;
    data.out[i] = -1;
  }
  return data;
}

static void done_with(Data* data, size_t bytes, int mpi) {
  float* const buffers[] = {data->in, data->out};
  for (int i = 0; i < 2; ++i) {
    if (!mpi) free(buffers[i]);
    else munmap(buffers[i], bytes);
  }
}

/* data[mpi] for each. */
static void contest(Operation operation, const Data* data, size_t bytes, int rank) {
  double times[2][most_rounds];
  int repeat[2], before[2];
  double a_round = 0;
  for (int mpi = 0; mpi < 2; ++mpi) {
    /* Over several nodes the first calls connect. */
    double estimate = time_of(operation, &data[mpi], mpi, several_nodes ? 20 : untimed, 3);
    MPI_Barrier(MPI_COMM_WORLD); /* makes what non-blocking calls over several nodes need */
    const double again = time_of(operation, &data[mpi], mpi, untimed, 3);
    if (again < estimate) estimate = again;
    repeat[mpi] = (int)(batch(estimate) / estimate);
    if (repeat[mpi] < 1) repeat[mpi] = 1;
    if (repeat[mpi] > most_repeats) repeat[mpi] = most_repeats;
    before[mpi] = calls_before(estimate, repeat[mpi]);
    a_round += estimate * (repeat[mpi] + before[mpi]);
  }
  int rounds = (int)(seconds_a_size / a_round);
  if (rounds > most_rounds) rounds = most_rounds;
  if (rounds < fewest_rounds) rounds = fewest_rounds;
  for (int round = 0; round < rounds; ++round) {
    for (int turn = 0; turn < 2; ++turn) {
      const int mpi = (round + turn) % 2; /* neither always comes first */
      times[mpi][round] = time_of(operation, &data[mpi], mpi, before[mpi], repeat[mpi]);
    }
  }
  for (int mpi = 0; mpi < 2; ++mpi) qsort(times[mpi], (size_t)rounds, sizeof(double), by_value);
  if (rank != 0) return;
  const double *ours = times[0], *theirs = times[1];
  const int middle = rounds / 2;
  printf("%11zu %12.2f %12.2f %8.2f %12.2f %12.2f %8.2f\n", bytes, ours[middle] * 1e6,
         theirs[middle] * 1e6, theirs[middle] / ours[middle], ours[0] * 1e6, theirs[0] * 1e6,
         theirs[0] / ours[0]);
  fflush(stdout);
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    Operation run;
  } operations[] = {{"allreduce", all_reduce},
                    {"iallreduce", all_reduce_later},
                    {"iallreduce_beside", all_reduce_beside},
                    {"reduce_scatter", reduce_scatter},
                    {"allgather", all_gather},
                    {"alltoall", all_to_all},
                    {"alltoall_in_place", all_to_all_in_place},
                    {"bcast", broadcast},
                    {"barrier", barrier}};
  MPI_Init(&argc, &argv);
  int rank = 0, ranks = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  MPI_Comm node;
  int on_node = 0;
  PMPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  PMPI_Comm_size(node, &on_node);
  PMPI_Comm_free(&node);
  several_nodes = on_node < ranks;
  PMPI_Allreduce(MPI_IN_PLACE, &several_nodes, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  const char* wanted = argc > 1 ? argv[1] : "allreduce";
  size_t least = argc > 2 ? strtoull(argv[2], NULL, 10) : 8;
  const size_t most = argc > 3 ? strtoull(argv[3], NULL, 10) : (size_t)256 << 20;
  Operation operation = NULL;
  for (size_t i = 0; i < sizeof operations / sizeof *operations; ++i) {
    if (strcmp(operations[i].name, wanted) == 0) operation = operations[i].run;
  }
  if (operation == NULL || least == 0 || most < least) {
    if (rank == 0) {
      fprintf(stderr, "usage: preload_bench [operation [least bytes [most bytes]]]\noperations:");
      for (size_t i = 0; i < sizeof operations / sizeof *operations; ++i) {
        fprintf(stderr, " %s", operations[i].name);
      }
      fprintf(stderr, "\n");
    }
    MPI_Finalize();
    return 2;
  }
  if (rank == 0) {
    printf("%s of float over %d ranks\n%11s %12s %12s %8s %12s %12s %8s\n", wanted, ranks, "bytes",
           "MPI_ med us", "PMPI_ med us", "ratio", "MPI_ min us", "PMPI_ min us", "ratio");
  }
  for (size_t bytes = least; bytes <= most; bytes *= 2) {
    size_t count = bytes / sizeof(float);
    count -= count % (size_t)ranks;
    const int any_count = operation == all_reduce || operation == all_reduce_later ||
                          operation == all_reduce_beside || operation == broadcast;
    if (any_count) count = bytes / sizeof(float);
    if (count == 0 && operation != barrier) continue;
    Data data[2];
    for (int mpi = 0; mpi < 2; ++mpi) data[mpi] = data_of(bytes, (int)count, ranks, rank, mpi);
    if (operation == all_reduce_beside) {
      data[1].work = work_of(time_of(all_reduce_later, &data[1], 1, several_nodes ? 20 : untimed, 3));
      data[0].work = data[1].work;
    }
    contest(operation, data, bytes, rank);
    for (int mpi = 0; mpi < 2; ++mpi) done_with(&data[mpi], bytes, mpi);
    if (operation == barrier) break;
  }
  MPI_Finalize();
  return 0;
}
