/* A plain MPI program, knowing nothing of Shoal, for several nodes: random calls of every function
 * that libshoal_pmpi.so takes over there, on communicators of all kinds. What comes must be what
 * PMPI's function gives, which is never Shoal's.
 *
 *     nodes [threads|many|abort|leave]
 *
 * threads: on several communicators at once. many: more communicators than there are descriptors
 * for. abort: one rank ends the run while the others wait for it in a collective. leave: it just ends.
 *
 * Ranks describe the same data by different types. But for `rounding` numbers are small integers,
 * so that sums are exact in every type and any order. */
#include <dirent.h>
#include <math.h>
#include <mpi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "check.h"

static int world_size;

static uint64_t mixed(uint64_t x) {
  x ^= x >> 31;
  x *= 0x7fb5d329728ea185u;
  x ^= x >> 27;
  x *= 0x81dadef4bc2dd44du;
  return x ^ (x >> 33);
}

/* The same sequence on all ranks of a communicator, or one of this rank's own. */
typedef struct {
  uint64_t state;
} Random;

static int below(Random* random, int bound) {
  random->state += 0x9e3779b97f4a7c15u;
  return (int)(mixed(random->state) % (uint64_t)bound);
}

static int a_length(Random* random) {
  static const int most[] = {1, 4, 40, 500, 5000, 30000, 200000};
  const int which = below(random, 30);
  return below(random, most[which == 0 ? 6 : which % 6] + 1);
}

typedef enum { I8, I32, I64, F32, F64, C64, PAIR, kinds } Kind;

static MPI_Datatype mpi_of(Kind kind) {
  const MPI_Datatype all[kinds] = {
      MPI_INT8_T, MPI_INT, MPI_LONG, MPI_FLOAT, MPI_DOUBLE, MPI_C_FLOAT_COMPLEX, MPI_DOUBLE_INT};
  return all[kind];
}

/* Of an element in memory: MPI_DOUBLE_INT has a gap behind it. */
static size_t size_of(Kind kind) {
  static const size_t sizes[kinds] = {1, 4, 8, 4, 8, 8, 16};
  return sizes[kind];
}

/* Small integers; in a MPI_DOUBLE_INT its gap stays. */
static void fill(char* data, size_t count, Kind kind, Random* random) {
  for (size_t i = 0; i < count; ++i) {
    const int x = below(random, 3) + 1;
    char* at = data + i * size_of(kind);
    switch (kind) {
      case I8:
        *(int8_t*)at = (int8_t)x;
        break;
      case I32:
        *(int32_t*)at = x;
        break;
      case I64:
        *(int64_t*)at = x;
        break;
      case F32:
        *(float*)at = (float)x;
        break;
      case F64:
        *(double*)at = x;
        break;
      case C64:
        ((float*)at)[0] = (float)x;
        ((float*)at)[1] = (float)-x;
        break;
      default:
        *(double*)at = x;
        *(int*)(at + 8) = x + 1;
        break;
    }
  }
}

/* How a rank lays out elements: one after the other, or with gaps of one between them, or
 * backwards. */
typedef struct {
  MPI_Datatype type;
  int count; /* of `type` that hold `elements` */
  int derived;
  size_t bytes; /* of memory that a block of `elements` has */
} Layout;

static Layout layout_of(Kind kind, int elements, int which) {
  Layout layout = {mpi_of(kind), elements, 0, (size_t)elements * size_of(kind)};
  if (which == 0 || elements == 0) return layout;
  if (which == 1) {
    DO(MPI_Type_vector(elements, 1, 2, mpi_of(kind), &layout.type));
    MPI_Datatype padded;
    layout.bytes *= 2;
    DO(MPI_Type_create_resized(layout.type, 0, (MPI_Aint)layout.bytes, &padded));
    MPI_Type_free(&layout.type);
    layout.type = padded;
    layout.count = 1;
  } else {
    MPI_Aint* places = malloc((size_t)elements * sizeof *places);
    int* lengths = malloc((size_t)elements * sizeof *lengths);
    CHECK(places != NULL && lengths != NULL);
    for (int i = 0; i < elements; ++i) {
      places[i] = (MPI_Aint)((size_t)(elements - 1 - i) * size_of(kind));
      lengths[i] = 1;
    }
    MPI_Datatype reversed;
    DO(MPI_Type_create_hindexed(elements, lengths, places, mpi_of(kind), &reversed));
    DO(MPI_Type_create_resized(reversed, 0, (MPI_Aint)layout.bytes, &layout.type));
    MPI_Type_free(&reversed);
    free(places);
    free(lengths);
    layout.count = 1;
  }
  DO(MPI_Type_commit(&layout.type));
  layout.derived = 1;
  return layout;
}

static void done_with(Layout* layout) {
  if (layout->derived) MPI_Type_free(&layout->type);
}

/* Memory with a poisoned margin, twice the same: for the two libraries. */
typedef struct {
  char *ours, *theirs;
  size_t bytes;
} Twins;
enum { margin = 32 };

static Twins twins_of(size_t bytes) {
  Twins twins = {malloc(bytes + margin), malloc(bytes + margin), bytes};
  CHECK(twins.ours != NULL && twins.theirs != NULL);
  memset(twins.ours, 0xa5, bytes + margin);
  memset(twins.theirs, 0xa5, bytes + margin);
  return twins;
}

static void compare(Twins* twins) {
  CHECK(memcmp(twins->ours, twins->theirs, twins->bytes + margin) == 0);
  free(twins->ours);
  free(twins->theirs);
}

typedef struct {
  MPI_Comm comm;
  int rank, ranks;
  Random all, own;
} Group;

static Group group_of(MPI_Comm comm, uint64_t number) {
  Group group;
  group.comm = comm;
  MPI_Comm_rank(comm, &group.rank);
  MPI_Comm_size(comm, &group.ranks);
  group.all.state = mixed(seed + number);
  group.own.state = mixed(seed + number * 1000003u + (uint64_t)world_rank + 17);
  return group;
}

static MPI_Op an_op(Group* group, Kind kind) {
  const MPI_Op all[] = {MPI_SUM, MPI_PROD, MPI_MIN, MPI_MAX};
  return kind == C64 ? MPI_SUM : all[below(&group->all, 4)];
}

/* Products stay in 8 bits: few ranks bring more than 1. */
static void fill_for(Group* group, char* data, size_t count, Kind kind, MPI_Op op) {
  fill(data, count, kind, &group->own);
  if (op != MPI_PROD || group->rank < 3) return;
  Random ones = {0};
  for (size_t i = 0; i < count; ++i) {
    memset(data + i * size_of(kind), 0, size_of(kind));
    char one[16];
    do fill(one, 1, kind, &ones);
    while (kind == F32 ? *(float*)one != 1 : kind == F64 ? *(double*)one != 1 : one[0] != 1);
    memcpy(data + i * size_of(kind), one, size_of(kind));
  }
}

static void reduce_all(Group* group) {
  const Kind kind = (Kind)below(&group->all, PAIR);
  const int count = a_length(&group->all);
  const MPI_Op op = an_op(group, kind);
  const size_t bytes = (size_t)count * size_of(kind);
  Twins out = twins_of(bytes);
  char* in = malloc(bytes + 1);
  CHECK(in != NULL);
  fill_for(group, in, (size_t)count, kind, op);
  if (below(&group->all, 2)) {
    memcpy(out.ours, in, bytes);
    memcpy(out.theirs, in, bytes);
    DO(MPI_Allreduce(MPI_IN_PLACE, out.ours, count, mpi_of(kind), op, group->comm));
    DO(PMPI_Allreduce(MPI_IN_PLACE, out.theirs, count, mpi_of(kind), op, group->comm));
  } else {
    DO(MPI_Allreduce(in, out.ours, count, mpi_of(kind), op, group->comm));
    DO(PMPI_Allreduce(in, out.theirs, count, mpi_of(kind), op, group->comm));
  }
  compare(&out);
  free(in);
}

static void reduce_and_scatter(Group* group) {
  const Kind kind = (Kind)below(&group->all, PAIR);
  const MPI_Op op = an_op(group, kind);
  const int even = below(&group->all, 2), in_place = below(&group->all, 2);
  int counts[64], total = 0;
  CHECK(group->ranks <= 64);
  const int each = a_length(&group->all);
  for (int r = 0; r < group->ranks; ++r) {
    counts[r] = even ? each : a_length(&group->all);
    total += counts[r];
  }
  char* in = malloc((size_t)total * size_of(kind) + 1);
  CHECK(in != NULL);
  fill_for(group, in, (size_t)total, kind, op);
  const size_t mine = (size_t)counts[group->rank] * size_of(kind);
  Twins out = twins_of(in_place ? (size_t)total * size_of(kind) : mine);
  if (in_place) {
    memcpy(out.ours, in, out.bytes);
    memcpy(out.theirs, in, out.bytes);
  }
  const void* from = in_place ? MPI_IN_PLACE : in;
  const MPI_Datatype type = mpi_of(kind);
  if (even) {
    DO(MPI_Reduce_scatter_block(from, out.ours, each, type, op, group->comm));
    DO(PMPI_Reduce_scatter_block(from, out.theirs, each, type, op, group->comm));
  } else {
    DO(MPI_Reduce_scatter(from, out.ours, counts, type, op, group->comm));
    DO(PMPI_Reduce_scatter(from, out.theirs, counts, type, op, group->comm));
  }
  /* In place, what is behind the result may be anything. */
  if (in_place) memcpy(out.ours + mine, out.theirs + mine, out.bytes - mine);
  compare(&out);
  free(in);
}

static void gather_all(Group* group) {
  const Kind kind = (Kind)below(&group->all, kinds);
  const int count = a_length(&group->all), in_place = below(&group->all, 2);
  Layout from = layout_of(kind, count, below(&group->own, 3));
  Layout to = layout_of(kind, count, below(&group->own, 3));
  char* in = calloc(1, 2 * from.bytes + 1);
  CHECK(in != NULL);
  fill(in, from.bytes / size_of(kind), kind, &group->own);
  Twins out = twins_of(to.bytes * (size_t)group->ranks);
  if (in_place) {
    fill(out.ours + to.bytes * (size_t)group->rank, to.bytes / size_of(kind), kind, &group->own);
    memcpy(out.theirs, out.ours, out.bytes);
    DO(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, out.ours, to.count, to.type, group->comm));
    DO(PMPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, out.theirs, to.count, to.type,
                      group->comm));
  } else {
    DO(MPI_Allgather(in, from.count, from.type, out.ours, to.count, to.type, group->comm));
    DO(PMPI_Allgather(in, from.count, from.type, out.theirs, to.count, to.type, group->comm));
  }
  compare(&out);
  free(in);
  done_with(&from);
  done_with(&to);
}

static void broadcast(Group* group) {
  const Kind kind = (Kind)below(&group->all, kinds);
  const int count = a_length(&group->all), root = below(&group->all, group->ranks);
  Layout layout = layout_of(kind, count, below(&group->own, 3));
  Twins data = twins_of(layout.bytes);
  if (group->rank == root) {
    fill(data.ours, layout.bytes / size_of(kind), kind, &group->own);
    memcpy(data.theirs, data.ours, data.bytes);
  }
  DO(MPI_Bcast(data.ours, layout.count, layout.type, root, group->comm));
  DO(PMPI_Bcast(data.theirs, layout.count, layout.type, root, group->comm));
  compare(&data);
  done_with(&layout);
}

static void exchange_all(Group* group) {
  const Kind kind = (Kind)below(&group->all, kinds);
  const int count = a_length(&group->all) / 4;
  const int in_place = below(&group->all, 3) == 0;
  Layout from = layout_of(kind, count, below(&group->own, 3));
  Layout to = layout_of(kind, count, below(&group->own, 3));
  const size_t ranks = (size_t)group->ranks;
  char* in = calloc(1, from.bytes * ranks + 1);
  CHECK(in != NULL);
  fill(in, from.bytes * ranks / size_of(kind), kind, &group->own);
  Twins out = twins_of(to.bytes * ranks);
  if (in_place) fill(out.ours, out.bytes / size_of(kind), kind, &group->own);
  /* In place MPI's own is a way that is seldom taken, too: here it has two buffers. */
  char* copy = malloc(out.bytes + 1);
  CHECK(copy != NULL);
  memcpy(copy, out.ours, out.bytes);
  memcpy(out.theirs, out.ours, out.bytes);
  if (in_place) {
    DO(MPI_Alltoall(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, out.ours, to.count, to.type, group->comm));
    DO(PMPI_Alltoall(copy, to.count, to.type, out.theirs, to.count, to.type, group->comm));
  } else {
    DO(MPI_Alltoall(in, from.count, from.type, out.ours, to.count, to.type, group->comm));
    DO(PMPI_Alltoall(in, from.count, from.type, out.theirs, to.count, to.type, group->comm));
  }
  compare(&out);
  free(in);
  free(copy);
  done_with(&from);
  done_with(&to);
}

/* Numbers of all sizes: the same bits on all ranks, and as near to the sum as rounding lets it be.
 */
static void rounding(Group* group) {
  const int count = a_length(&group->all) + 1;
  double* in = malloc((size_t)count * sizeof *in);
  double* out = malloc((size_t)count * sizeof *out);
  double* magnitude = malloc((size_t)count * sizeof *magnitude);
  double* sum = malloc((size_t)count * sizeof *sum);
  CHECK(in != NULL && out != NULL && magnitude != NULL && sum != NULL);
  for (int i = 0; i < count; ++i) {
    in[i] = ldexp((below(&group->own, 2000001) - 1000000) / 1e6, below(&group->own, 40) - 20);
    magnitude[i] = fabs(in[i]);
  }
  DO(MPI_Allreduce(in, out, count, MPI_DOUBLE, MPI_SUM, group->comm));
  DO(PMPI_Allreduce(in, sum, count, MPI_DOUBLE, MPI_SUM, group->comm));
  DO(PMPI_Allreduce(MPI_IN_PLACE, magnitude, count, MPI_DOUBLE, MPI_SUM, group->comm));
  uint64_t hash = 0, least = 0, most = 0;
  for (int i = 0; i < count; ++i) {
    uint64_t bits;
    memcpy(&bits, &out[i], sizeof bits);
    hash = mixed(hash + bits);
    /* Either sum is off by at most (p − 1) half units of the magnitudes' sum. */
    CHECK(fabs(out[i] - sum[i]) <= 2 * group->ranks * 0x1p-53 * magnitude[i]);
  }
  DO(PMPI_Allreduce(&hash, &least, 1, MPI_UINT64_T, MPI_MIN, group->comm));
  DO(PMPI_Allreduce(&hash, &most, 1, MPI_UINT64_T, MPI_MAX, group->comm));
  CHECK(least == most);
  free(in);
  free(out);
  free(magnitude);
  free(sum);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time); /* one clock for all processes of a machine */
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Nobody leaves before all have come. */
static void barrier(Group* group) {
  if (group->rank == below(&group->all, group->ranks)) {
    const struct timespec a_while = {0, 2000000};
    nanosleep(&a_while, NULL);
  }
  const double came = now();
  DO(MPI_Barrier(group->comm));
  const double left = now();
  double last = 0;
  DO(PMPI_Allreduce(&came, &last, 1, MPI_DOUBLE, MPI_MAX, group->comm));
  CHECK(left >= last);
}

/* A message that goes on only while its sender, which waits in a collective, looks after MPI; and
 * one that anybody may take, which no message of a collective may come before. */
static void beside_messages(Group* group) {
  if (group->ranks < 2) return;
  const int to = 1 + below(&group->all, group->ranks - 1), count = 3 << 20;
  char* data = malloc((size_t)count);
  CHECK(data != NULL);
  MPI_Request request = MPI_REQUEST_NULL;
  memset(data, group->rank, (size_t)count);
  MPI_Status status = {0};
  if (group->rank == to) {
    DO(MPI_Irecv(data, count, MPI_CHAR, MPI_ANY_SOURCE, MPI_ANY_TAG, group->comm, &request));
    reduce_all(group);
    DO(MPI_Wait(&request, &status));
    CHECK(status.MPI_SOURCE == 0 && status.MPI_TAG == 9 && data[count - 1] == 0);
  } else {
    if (group->rank == 0) DO(MPI_Isend(data, count, MPI_CHAR, to, 9, group->comm, &request));
    reduce_all(group);
    DO(MPI_Wait(&request, MPI_STATUS_IGNORE));
  }
  /* The other way round: the receiver comes to the collective late. */
  if (group->rank == 0) DO(MPI_Isend(data, count, MPI_CHAR, to, 10, group->comm, &request));
  if (group->rank == to) DO(MPI_Recv(data, count, MPI_CHAR, 0, 10, group->comm, &status));
  DO(MPI_Barrier(group->comm));
  DO(MPI_Wait(&request, MPI_STATUS_IGNORE));
  free(data);
}

/* Non-blocking ones between blocking ones on the same communicator. */
static void later(Group* group) {
  const int count = a_length(&group->all) + 1;
  double* in = malloc((size_t)count * sizeof *in);
  Twins out = twins_of((size_t)count * sizeof *in);
  CHECK(in != NULL);
  fill((char*)in, (size_t)count, F64, &group->own);
  MPI_Request request;
  DO(MPI_Iallreduce(in, out.ours, count, MPI_DOUBLE, MPI_SUM, group->comm, &request));
  reduce_all(group);
  broadcast(group);
  DO(MPI_Wait(&request, MPI_STATUS_IGNORE));
  DO(PMPI_Allreduce(in, out.theirs, count, MPI_DOUBLE, MPI_SUM, group->comm));
  compare(&out);
  free(in);
}

static void a_call(Group* group) {
  switch (below(&group->all, 10)) {
    case 0:
    case 1:
      reduce_all(group);
      break;
    case 2:
      reduce_and_scatter(group);
      break;
    case 3:
      gather_all(group);
      break;
    case 4:
      broadcast(group);
      break;
    case 5:
      exchange_all(group);
      break;
    case 6:
      rounding(group);
      break;
    case 7:
      later(group);
      break;
    case 8:
      if (below(&group->all, 4) == 0) beside_messages(group);
      break;
    default:
      barrier(group);
      break;
  }
}

/* Ranks in another order, some of them only; null on the others. */
static MPI_Comm a_part(MPI_Comm comm, uint64_t number) {
  Random random = {mixed(seed + number)};
  int rank, ranks;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  const int colours = 1 + below(&random, 2), key_seed = below(&random, 1000000);
  const int colour = below(&random, 4) == 0 && rank == ranks - 1
                         ? MPI_UNDEFINED
                         : (int)(mixed((uint64_t)(key_seed + rank)) % (uint64_t)colours);
  MPI_Comm part;
  DO(MPI_Comm_split(comm, colour, (int)(mixed((uint64_t)(key_seed * 7 + rank)) % 1000), &part));
  return part;
}

static void communicators(uint64_t number, int rounds) {
  Group all = group_of(MPI_COMM_WORLD, number);
  for (int i = 0; i < 2 * rounds; ++i) a_call(&all);
  enum { kept = 5 };
  MPI_Comm parts[kept];
  Group groups[kept];
  for (int i = 0; i < kept; ++i) {
    parts[i] = a_part(MPI_COMM_WORLD, number + (uint64_t)i + 1);
    if (parts[i] != MPI_COMM_NULL) groups[i] = group_of(parts[i], number + (uint64_t)i + 1);
  }
  /* In turns, so that several are in use at a time. */
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < kept; ++i) {
      if (parts[i] != MPI_COMM_NULL) a_call(&groups[i]);
    }
  }
  for (int i = 0; i < kept - 1; ++i) { /* one is left for MPI_Finalize */
    if (parts[i] != MPI_COMM_NULL) MPI_Comm_free(&parts[i]);
  }
}

static void* calls_of_thread(void* argument) {
  Group* group = argument;
  for (int i = 0; i < 200; ++i) a_call(group);
  return NULL;
}

static void several_threads(void) {
  enum { most = 3 };
  pthread_t threads[most];
  Group groups[most];
  for (int i = 0; i < most; ++i) {
    MPI_Comm comm;
    DO(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    groups[i] = group_of(comm, 5000 + (uint64_t)i);
  }
  for (int i = 0; i < most; ++i) {
    CHECK(pthread_create(&threads[i], NULL, calls_of_thread, &groups[i]) == 0);
  }
  for (int i = 0; i < most; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
  for (int i = 0; i < most; ++i) MPI_Comm_free(&groups[i].comm);
}

static int open_descriptors(void) {
  DIR* folder = opendir("/proc/self/fd");
  CHECK(folder != NULL);
  int count = -3; /* itself, and the two names of folders */
  while (readdir(folder) != NULL) ++count;
  closedir(folder);
  return count;
}

/* All of them are used, whether there are connections for them or not; and at the end they are all
 * free again. */
static void many_communicators(void) {
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  if (limit.rlim_cur > 256) limit.rlim_cur = 256;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  enum { most = 300 };
  static MPI_Comm comms[most];
  const int before = open_descriptors();
  for (int i = 0; i < most; ++i) {
    DO(MPI_Comm_dup(MPI_COMM_WORLD, &comms[i]));
    Group group = group_of(comms[i], 9000 + (uint64_t)i);
    /* So many that it connects, if it may. */
    for (int call = 0; call < 80; ++call) {
      const int one = 1;
      int sum = 0;
      DO(MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, group.comm));
      CHECK(sum == group.ranks);
    }
    for (int call = 0; call < 3; ++call) a_call(&group);
  }
  CHECK(open_descriptors() <= before + 128);
  for (int i = 0; i < most; ++i) MPI_Comm_free(&comms[i]);
  CHECK(open_descriptors() <= before + 8);
  /* What is free again serves the next ones. */
  MPI_Comm comm;
  DO(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
  Group group = group_of(comm, 9999);
  for (int i = 0; i < 150; ++i) a_call(&group);
  MPI_Comm_free(&comm);
}

/* Random lengths may all lie where a function is MPI's: these are Shoal's for certain. */
static void long_ones(void) {
  Group world = group_of(MPI_COMM_WORLD, 2), *group = &world;
  enum { all = 1 << 19 }; /* ints: 2 MiB */
  const int each = all / group->ranks;
  int counts[64];
  CHECK(group->ranks <= 64);
  for (int r = 0; r < group->ranks; ++r) counts[r] = each;
  char* in = malloc(all * sizeof(int));
  CHECK(in != NULL);
  fill(in, all, I32, &group->own);

  Twins out = twins_of((size_t)each * (size_t)group->ranks * sizeof(int));
  DO(MPI_Allgather(in, each, MPI_INT, out.ours, each, MPI_INT, group->comm));
  DO(PMPI_Allgather(in, each, MPI_INT, out.theirs, each, MPI_INT, group->comm));
  compare(&out);
  out = twins_of((size_t)each * (size_t)group->ranks * sizeof(int));
  DO(MPI_Alltoall(in, each, MPI_INT, out.ours, each, MPI_INT, group->comm));
  DO(PMPI_Alltoall(in, each, MPI_INT, out.theirs, each, MPI_INT, group->comm));
  compare(&out);
  out = twins_of((size_t)each * sizeof(int));
  DO(MPI_Reduce_scatter_block(in, out.ours, each, MPI_INT, MPI_MAX, group->comm));
  DO(PMPI_Reduce_scatter_block(in, out.theirs, each, MPI_INT, MPI_MAX, group->comm));
  compare(&out);
  out = twins_of((size_t)each * sizeof(int));
  DO(MPI_Reduce_scatter(in, out.ours, counts, MPI_INT, MPI_MIN, group->comm));
  DO(PMPI_Reduce_scatter(in, out.theirs, counts, MPI_INT, MPI_MIN, group->comm));
  compare(&out);
  free(in);
}

/* Requests that end after their communicator has gone, some of them not in their order; long ones, on a
 * communicator on which there have been enough calls for them to be Shoal's. (Open MPI 4.1.4 frees what
 * its own still need, and crashes.) */
static void outlived(void) {
  const char* libraries = getenv("LD_PRELOAD");
  const int may_outlive = libraries != NULL && strstr(libraries, "shoal") != NULL;
  enum { several = 4, count = 1 << 18, calls_before = 80 };
  MPI_Comm comm;
  DO(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
  MPI_Request requests[several];
  for (int i = 0; i < calls_before; ++i) {
    int one = 1;
    DO(MPI_Iallreduce(MPI_IN_PLACE, &one, 1, MPI_INT, MPI_SUM, comm, requests));
    DO(MPI_Wait(requests, MPI_STATUS_IGNORE));
    CHECK(one == world_size);
  }
  DO(MPI_Barrier(comm));
  Group group = group_of(comm, 3);
  double* in[several];
  Twins out[several];
  for (int i = 0; i < several; ++i) {
    const size_t bytes = (size_t)(count + i) * sizeof(double);
    in[i] = malloc(bytes);
    CHECK(in[i] != NULL);
    fill((char*)in[i], (size_t)(count + i), F64, &group.own);
    out[i] = twins_of(bytes);
    DO(MPI_Iallreduce(in[i], out[i].ours, count + i, MPI_DOUBLE, MPI_SUM, comm, &requests[i]));
  }
  if (may_outlive) MPI_Comm_free(&comm);
  DO(MPI_Wait(&requests[several - 1], MPI_STATUS_IGNORE));
  for (int i = 0; i < several; ++i) DO(MPI_Wait(&requests[i], MPI_STATUS_IGNORE));
  for (int i = 0; i < several; ++i) {
    DO(PMPI_Allreduce(in[i], out[i].theirs, count + i, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD));
    compare(&out[i]);
    free(in[i]);
  }
  if (!may_outlive) MPI_Comm_free(&comm);
}

/* One rank ends, without a word to MPI, in the middle of what the others never begin. */
static void leave(void) {
  enum { count = 1 << 18 };
  double* data = calloc(count, sizeof *data);
  CHECK(data != NULL);
  MPI_Request request;
  for (int i = 0; i < 20; ++i) {
    DO(MPI_Iallreduce(MPI_IN_PLACE, data, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD, &request));
    DO(MPI_Wait(&request, MPI_STATUS_IGNORE));
  }
  DO(MPI_Barrier(MPI_COMM_WORLD));
  if (world_rank == world_size - 1) {
    DO(MPI_Iallreduce(MPI_IN_PLACE, data, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD, &request));
    exit(7);
  }
  for (;;) DO(MPI_Barrier(MPI_COMM_WORLD));
}

int main(int argc, char** argv) {
  const char* mode = argc > 1 ? argv[1] : "";
  int provided = MPI_THREAD_SINGLE;
  if (strcmp(mode, "threads") == 0) {
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    CHECK(provided == MPI_THREAD_MULTIPLE);
  } else {
    MPI_Init(&argc, &argv);
  }
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &world_size);
  const char* text = getenv("SHOAL_TEST_SEED");
  seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 1000003u;
  PMPI_Bcast(&seed, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);

  if (strcmp(mode, "threads") == 0) {
    several_threads();
    long_ones();
    outlived();
  } else if (strcmp(mode, "many") == 0) {
    many_communicators();
  } else if (strcmp(mode, "abort") == 0) {
    Group group = group_of(MPI_COMM_WORLD, 1);
    for (int i = 0; i < 30; ++i) reduce_all(&group);
    if (world_rank == world_size - 1) MPI_Abort(MPI_COMM_WORLD, 7);
    for (;;) reduce_all(&group);
  } else if (strcmp(mode, "leave") == 0) {
    leave();
  } else {
    communicators(1, 150);
    long_ones();
    outlived();
  }
  if (world_rank == 0) printf("all right, seed %llu\n", (unsigned long long)seed);
  MPI_Finalize();
  return 0;
}
