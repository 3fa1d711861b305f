/* A plain MPI program, knowing nothing of Shoal: MPI_Iallreduce among requests of every other kind, on
 * communicators that overlap, come and go, with blocking collectives in between.
 *
 *     preload_requests [requests] [threads]    "threads": several threads at once, each with communicators of its own
 *
 * All ranks begin the same operations in the same order, as MPI asks; what each waits for, when and how, is
 * its own choice. No rank can wait for what another has not begun and never will: the one that has come
 * least far waits only for what all have begun. All numbers are small integers, so that sums are exact. */
#include <mpi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"

static uint64_t mixed(uint64_t x) {
  x ^= x >> 31;
  x *= 0x7fb5d329728ea185u;
  x ^= x >> 27;
  x *= 0x81dadef4bc2dd44du;
  return x ^ (x >> 33);
}

/* Numbers one after the other, the same wherever it starts alike. */
static int draw(uint64_t* state, int below) {
  *state += 0x9e3779b97f4a7c15u;
  return (int)(mixed(*state) % (uint64_t)below);
}

/* What `rank` brings as element `i` of operation `number`: -2 to 3. */
static int value(uint64_t number, int rank, int i) {
  return (int)(mixed(seed + number * 0xbf58476d1ce4e5b9u + (uint64_t)rank * 0x94d049bb133111ebu +
                     (uint64_t)i) % 6) - 2;
}

enum { sums, reductions = 3 }; /* sum, min, max */

static int reduced(uint64_t number, int ranks, int i, int op) {
  int result = value(number, 0, i);
  for (int rank = 1; rank < ranks; ++rank) {
    const int x = value(number, rank, i);
    if (op == sums) result += x;
    else result = (op == 1) == (x < result) ? x : result;
  }
  return result;
}

/* `exchange` is not a collective: a message to the next rank, and one from the rank before. */
typedef enum { iallreduce, ibcast, iallgather, ibarrier, exchange_in, exchange_out, kinds } Kind;

typedef struct {
  Kind kind;
  uint64_t number;
  int ranks, rank, from, count, op, real;
  int comm; /* its number, and after that is gone -1 */
  int may_outlive;
  void* in;
  void* out;
} Begun;

static size_t bytes_of(int count, int real) { return (size_t)count * (real ? 8 : 4); }

static void* numbers(uint64_t number, int rank, int count, int real) {
  void* data = malloc(bytes_of(count, real) + 1);
  CHECK(data != NULL);
  for (int i = 0; i < count; ++i) {
    if (real) ((double*)data)[i] = value(number, rank, i);
    else ((int*)data)[i] = value(number, rank, i);
  }
  return data;
}

static void* poisoned(int count, int real) {
  void* data = malloc(bytes_of(count, real) + 1);
  CHECK(data != NULL);
  memset(data, 0xa5, bytes_of(count, real) + 1);
  return data;
}

static void check(const Begun* done) {
  const int blocks = done->kind == iallgather ? done->ranks : 1;
  for (int i = 0; done->out != NULL && i < done->count * blocks; ++i) {
    int wanted = value(done->number, done->from, i);
    if (done->kind == iallreduce) wanted = reduced(done->number, done->ranks, i, done->op);
    if (done->kind == iallgather) wanted = value(done->number, i / done->count, i % done->count);
    const double got = done->real ? ((double*)done->out)[i] : ((int*)done->out)[i];
    CHECK(got == wanted);
  }
  if (done->out != NULL) {
    CHECK(((unsigned char*)done->out)[bytes_of(done->count * blocks, done->real)] == 0xa5);
  }
  free(done->out);
  free(done->in);
}

enum { most_under_way = 48 };

typedef struct {
  Begun begun[most_under_way];
  MPI_Request requests[most_under_way];
  int size;
} UnderWay;

static void settle(UnderWay* all, int which, const MPI_Status* status) {
  int cancelled = -1;
  DO(MPI_Test_cancelled(status, &cancelled));
  CHECK(!cancelled);
  CHECK(all->requests[which] == MPI_REQUEST_NULL);
  check(&all->begun[which]);
}

/* Drops those that are done. */
static void close_ranks(UnderWay* all) {
  int kept = 0;
  for (int i = 0; i < all->size; ++i) {
    if (all->requests[i] == MPI_REQUEST_NULL) continue;
    all->requests[kept] = all->requests[i];
    all->begun[kept++] = all->begun[i];
  }
  all->size = kept;
}

/* Waits for some, or looks how far they are, in one of the ways there are. */
static void look_after(UnderWay* all, uint64_t* chance) {
  MPI_Status statuses[most_under_way], status;
  int indices[most_under_way], index = MPI_UNDEFINED, flag = 0, done = 0;
  if (all->size == 0) return;
  const int one = draw(chance, all->size), first = draw(chance, all->size);
  const int some = 1 + draw(chance, all->size - first);
  MPI_Request* const part = all->requests + first;
  switch (draw(chance, 9)) {
    case 0:
      DO(MPI_Wait(&all->requests[one], &status));
      settle(all, one, &status);
      break;
    case 1:
      DO(MPI_Waitany(some, part, &index, &status));
      CHECK(index >= 0 && index < some);
      settle(all, first + index, &status);
      break;
    case 2:
      DO(MPI_Waitsome(some, part, &done, indices, statuses));
      CHECK(done > 0 && done <= some);
      for (int i = 0; i < done; ++i) settle(all, first + indices[i], &statuses[i]);
      break;
    case 3:
      DO(MPI_Waitall(some, part, statuses));
      for (int i = 0; i < some; ++i) settle(all, first + i, &statuses[i]);
      break;
    case 4:
      for (int i = 0; i < 20 && !flag; ++i) DO(MPI_Test(&all->requests[one], &flag, &status));
      if (flag) settle(all, one, &status);
      break;
    case 5:
      DO(MPI_Testall(some, part, &flag, statuses));
      for (int i = 0; flag && i < some; ++i) settle(all, first + i, &statuses[i]);
      break;
    case 6:
      DO(MPI_Testany(some, part, &index, &flag, &status));
      if (flag) settle(all, first + index, &status);
      break;
    case 7:
      DO(MPI_Testsome(some, part, &done, indices, statuses));
      for (int i = 0; i < done; ++i) settle(all, first + indices[i], &statuses[i]);
      break;
    default:
      DO(MPI_Request_get_status(all->requests[one], &flag, &status));
      CHECK(all->requests[one] != MPI_REQUEST_NULL);
      break;
  }
  close_ranks(all);
}

/* A communicator, and if a blocking collective has met on it. */
typedef struct {
  MPI_Comm mpi;
  int met;
} Comm;

/* On several nodes Shoal begins with a communicator only after a while, and some is MPI's for longer. */
static int several_nodes(void) { return getenv("SHOAL_NODES") != NULL; }

/* If all that a communicator's ranks begin once they have met is Shoal's. */
static int all_is_shoals(void) {
  const char* libraries = getenv("LD_PRELOAD");
  return libraries != NULL && strstr(libraries, "shoal") != NULL && !several_nodes();
}

static int length_of(uint64_t* state) {
  const int most[] = {2, 30, 700, 5000, several_nodes() ? 400000 : 60000};
  return 1 + draw(state, most[draw(state, 5)]);
}

/* Begins one operation on comms[which]. `state` and `number` are the same on all its ranks. */
static void begin(UnderWay* all, const Comm* comms, int which, uint64_t* state, uint64_t number) {
  const MPI_Comm comm = comms[which].mpi;
  Begun* const next = &all->begun[all->size];
  MPI_Request* const request = &all->requests[all->size];
  int rank, ranks;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  /* Every second one is what this is about. */
  const int kind = draw(state, 2) ? iallreduce : draw(state, exchange_out);
  const int count = length_of(state), real = draw(state, 2), in_place = draw(state, 2);
  const int op = draw(state, reductions), root = draw(state, ranks);
  const MPI_Datatype type = real ? MPI_DOUBLE : MPI_INT;
  const MPI_Op ops[reductions] = {MPI_SUM, MPI_MIN, MPI_MAX};
  const int outlives = kind == iallreduce && comms[which].met && ranks > 1 && all_is_shoals();
  *next = (Begun){(Kind)kind, number, ranks, rank, root, count, op, real, which, outlives, NULL, NULL};
  switch (next->kind) {
    case iallreduce:
      next->in = numbers(number, rank, count, real);
      next->out = poisoned(count, real);
      if (in_place) memcpy(next->out, next->in, bytes_of(count, real));
      DO(MPI_Iallreduce(in_place ? MPI_IN_PLACE : next->in, next->out, count, type, ops[op], comm,
                        request));
      break;
    case ibcast:
      next->out = poisoned(count, real);
      if (rank == root) {
        next->in = numbers(number, root, count, real);
        memcpy(next->out, next->in, bytes_of(count, real));
      }
      DO(MPI_Ibcast(next->out, count, type, root, comm, request));
      break;
    case iallgather:
      next->in = numbers(number, rank, count, real);
      next->out = poisoned(count * ranks, real);
      DO(MPI_Iallgather(next->in, count, type, next->out, count, type, comm, request));
      break;
    case ibarrier: DO(MPI_Ibarrier(comm, request)); break;
    default: {
      /* Two requests. */
      const int tag = (int)(number % 30000);
      next->kind = exchange_in;
      next->from = (rank + ranks - 1) % ranks;
      next->out = poisoned(count, real);
      DO(MPI_Irecv(next->out, count, type, next->from, tag, comm, request));
      all->begun[++all->size] =
          (Begun){exchange_out, number, ranks, rank, 0, 0, 0, real, which, 0, NULL, NULL};
      all->begun[all->size].in = numbers(number, rank, count, real);
      DO(MPI_Isend(all->begun[all->size].in, count, type, (rank + 1) % ranks, tag, comm,
                   &all->requests[all->size]));
    }
  }
  CHECK(all->requests[all->size] != MPI_REQUEST_NULL);
  ++all->size;
}

/* A blocking collective that nothing under way may disturb. */
static void block(MPI_Comm comm, uint64_t* state, uint64_t number) {
  int rank, ranks;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  const int kind = draw(state, 3), count = length_of(state), op = draw(state, reductions);
  const int root = draw(state, ranks);
  const MPI_Op ops[reductions] = {MPI_SUM, MPI_MIN, MPI_MAX};
  Begun done = {iallreduce, number, ranks, rank, root, count, op, 0, -1, 0, NULL, NULL};
  if (kind == 2) {
    DO(MPI_Barrier(comm));
    return;
  }
  done.out = poisoned(count, 0);
  if (kind == 0) {
    done.in = numbers(number, rank, count, 0);
    DO(MPI_Allreduce(done.in, done.out, count, MPI_INT, ops[op], comm));
  } else {
    done.kind = ibcast;
    done.in = numbers(number, root, count, 0);
    if (rank == root) memcpy(done.out, done.in, bytes_of(count, 0));
    DO(MPI_Bcast(done.out, count, MPI_INT, root, comm));
  }
  check(&done);
}

/* Before its communicator is freed: MPI lets any operation end all the same, but Open MPI 4.1.4 frees what
 * its own non-blocking collectives still need, and crashes. Those of Shoal go on. */
static void leave(UnderWay* all, int which) {
  for (int i = 0; i < all->size; ++i) {
    MPI_Status status;
    if (all->begun[i].comm != which) continue;
    all->begun[i].comm = -1;
    if (all->begun[i].may_outlive) continue;
    DO(MPI_Wait(&all->requests[i], &status));
    settle(all, i, &status);
  }
  close_ranks(all);
}

enum { most_comms = 5, steps = 1500 };

typedef struct {
  Comm comms[most_comms];
  uint64_t start;
  int alone; /* no other thread */
} Share;

static void prepare(Share* share, uint64_t start, int alone) {
  MPI_Comm* const made[most_comms] = {&share->comms[0].mpi, &share->comms[1].mpi,
                                      &share->comms[2].mpi, &share->comms[3].mpi,
                                      &share->comms[4].mpi};
  const int colours[most_comms] = {0, world_rank % 2, world_rank / 2, 0, world_rank == 0};
  for (int i = 0; i < most_comms; ++i) {
    const int key = i == 2 || i == 3 ? -world_rank : world_rank;
    DO(MPI_Comm_split(MPI_COMM_WORLD, colours[i], key, made[i]));
    share->comms[i].met = 0;
  }
  share->start = start;
  share->alone = alone;
}

static void* play(void* argument) {
  Share* const share = argument;
  Comm* const comms = share->comms;
  uint64_t all_alike = seed + share->start;
  uint64_t mine = mixed(seed + share->start) + (uint64_t)world_rank;
  UnderWay* all = malloc(sizeof *all);
  CHECK(all != NULL);
  all->size = 0;
  for (int step = 0; step < steps; ++step) {
    const uint64_t number = share->start + (uint64_t)step;
    const int which = draw(&all_alike, most_comms);
    const int action = draw(&all_alike, several_nodes() ? 400 : 40);
    uint64_t state = seed + number;
    if (action < 2 && share->alone) {
      /* A new communicator for an old one, whatever is under way there. With threads that make some at
       * once Open MPI 4.1.4 may not come to an end. */
      MPI_Comm copy;
      DO(MPI_Comm_dup(comms[which].mpi, &copy));
      if (action == 1) begin(all, comms, which, &state, number);
      leave(all, which);
      MPI_Comm_free(&comms[which].mpi);
      comms[which] = (Comm){copy, 0};
    } else if (action < (several_nodes() ? 50 : 7)) {
      block(comms[which].mpi, &state, number);
      comms[which].met = 1;
    } else {
      begin(all, comms, which, &state, number);
    }
    /* Often many are begun in a row. */
    while (all->size > most_under_way - 3 || draw(&mine, 4) == 0) look_after(all, &mine);
  }
  while (all->size > 0) look_after(all, &mine);
  free(all);
  return NULL;
}

int main(int argc, char** argv) {
  const int threads = argc > 1 && strcmp(argv[argc - 1], "threads") == 0;
  int provided = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, threads ? MPI_THREAD_MULTIPLE : MPI_THREAD_SINGLE, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  const char* text = getenv("SHOAL_TEST_SEED");
  seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 1000003u;
  PMPI_Bcast(&seed, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
  enum { most = 3 };
  pthread_t handles[most];
  Share shares[most];
  const int count = threads ? most : 1;
  CHECK(!threads || provided == MPI_THREAD_MULTIPLE);
  for (int i = 0; i < count; ++i) prepare(&shares[i], 100000u * (uint64_t)i, !threads);
  for (int i = 1; i < count; ++i) CHECK(pthread_create(&handles[i], NULL, play, &shares[i]) == 0);
  play(&shares[0]);
  for (int i = 1; i < count; ++i) CHECK(pthread_join(handles[i], NULL) == 0);
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < most_comms; ++j) MPI_Comm_free(&shares[i].comms[j].mpi);
  }
  if (world_rank == 0) printf("all right, seed %llu\n", (unsigned long long)seed);
  MPI_Finalize();
  return 0;
}
