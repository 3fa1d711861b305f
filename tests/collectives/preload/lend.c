/* A plain MPI program, knowing nothing of Shoal, on one node: collectives come again with the same buffers, whose
 * pages libshoal_pmpi.so lends to the other ranks. The program must see no difference, whatever it does
 * with the memory afterwards.
 *
 *     lend [threads]    threads: on several communicators at once, beside one that allocates and one that forks
 *
 * All numbers are small integers, so that sums are exact in any order. */
#define _GNU_SOURCE
#include <mpi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static int world_size, lends;

static float value(uint64_t number, int rank, size_t i) {
  uint64_t x = seed + number * 0x9e3779b97f4a7c15u + (uint64_t)rank * 0xbf58476d1ce4e5b9u + i;
  x ^= x >> 31;
  x *= 0x7fb5d329728ea185u;
  x ^= x >> 27;
  return (float)(int)(x % 2001) - 1000;
}

static void fill(float* data, size_t count, uint64_t number) {
  for (size_t i = 0; i < count; ++i) data[i] = value(number, world_rank, i);
}

static void check_sums(const float* data, size_t count, uint64_t number) {
  for (size_t i = 0; i < count; ++i) {
    float sum = 0;
    for (int rank = 0; rank < world_size; ++rank) sum += value(number, rank, i);
    CHECK(data[i] == sum);
  }
}

/* Whether the page of an address is one of a shared heap. */
static int is_lent(const void* at) {
  char line[512];
  FILE* maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  int found = -1;
  while (found < 0 && fgets(line, sizeof line, maps) != NULL) {
    unsigned long begin, end;
    CHECK(sscanf(line, "%lx-%lx", &begin, &end) == 2);
    if ((uintptr_t)at >= begin && (uintptr_t)at < end) found = strstr(line, "memfd:shoal") != NULL;
  }
  fclose(maps);
  CHECK(found >= 0);
  return found;
}

static void expect_lent(const float* data, size_t count, int wanted) {
  CHECK(is_lent(data) == wanted);
  CHECK(is_lent((const char*)(data + count) - 1) == wanted);
}

/* A sum of fresh numbers; `in` may be `out`. */
static uint64_t next_number = 1;
static void sum(float* in, float* out, size_t count, MPI_Comm comm) {
  const uint64_t number = next_number++;
  fill(in, count, number);
  DO(MPI_Allreduce(in == out ? MPI_IN_PLACE : (void*)in, out, (int)count, MPI_FLOAT, MPI_SUM, comm));
  check_sums(out, count, number);
}

static float* allocated(int how, size_t count) {
  void* memory = NULL;
  if (how == 0) memory = malloc(count * sizeof(float));
  if (how == 1) CHECK(posix_memalign(&memory, 64, count * sizeof(float)) == 0);
  if (how == 2) memory = aligned_alloc(1 << 16, (count * sizeof(float) + 65535) / 65536 * 65536);
  CHECK(memory != NULL);
  return memory;
}

static const size_t lengths[] = {1 << 18, (1 << 18) + 1, 777777, (1 << 20) + 1024};
enum { length_count = 4, ways = 3 };

static void whole_allocations(void) {
  for (int turn = 0; turn < length_count * ways; ++turn) {
    const size_t count = lengths[turn % length_count];
    const int how = turn % ways;
    float *in = allocated(how, count), *out = allocated(how, count);
    const int whole = how != 2 || count * sizeof(float) % 65536 == 0 || count * sizeof(float) % 4096 == 0;
    for (int again = 0; again < 3; ++again) {
      sum(in, out, count, MPI_COMM_WORLD);
      expect_lent(in, count, lends && whole && again > 0);
      expect_lent(out, count, lends && whole && again > 0);
    }
    for (int again = 0; again < 2; ++again) sum(out, out, count, MPI_COMM_WORLD);
    /* Resized with what is in them, and private again. */
    fill(out, count, 5);
    const size_t more = turn % 2 ? count * 2 : count / 2;
    out = realloc(out, more * sizeof(float));
    CHECK(out != NULL);
    expect_lent(out, more, 0);
    for (size_t i = 0; i < count && i < more; ++i) CHECK(out[i] == value(5, world_rank, i));
    memset(out, 7, more * sizeof(float));
    free(out);
    free(in);
    out = allocated(how, count);
    memset(out, 1, count * sizeof(float));
    expect_lent(out, count, 0);
    sum(out, out, count, MPI_COMM_WORLD);
    expect_lent(out, count, 0); /* a new one, though it may lie where the old one lay */
    free(out);
  }
}

/* Ever longer beginnings of one allocation, then other parts of it. */
static void parts(void) {
  enum { all = 1 << 21, page = 1024 };
  float* data = allocated(0, all);
  fill(data, all, 3);
  for (size_t count = 1 << 18; count <= all; count *= 2) {
    for (int again = 0; again < 3; ++again) sum(data, data, count, MPI_COMM_WORLD);
    expect_lent(data, count, lends);
    for (size_t i = count; i < all; ++i) CHECK(data[i] == value(3, world_rank, i));
  }
  for (int again = 0; again < 3; ++again) {
    sum(data + page, data + page, 1 << 18, MPI_COMM_WORLD);
    sum(data + 5, data + 5, all - 5, MPI_COMM_WORLD);
  }
  free(data);
  /* Other things lie in the last page, or in the first. */
  data = allocated(2, all);
  for (int again = 0; again < 3; ++again) {
    sum(data, data, all - 5, MPI_COMM_WORLD);
    sum(data + 5, data + 5, all - 5, MPI_COMM_WORLD);
  }
  expect_lent(data, all, 0);
  /* Two parts, each of which is lent, and then both together; and one that reaches over an end. */
  for (int again = 0; again < 3; ++again) {
    sum(data, data, all / 2, MPI_COMM_WORLD);
    sum(data + all / 2, data + all / 2, all / 2, MPI_COMM_WORLD);
  }
  expect_lent(data, all, lends);
  for (int again = 0; again < 3; ++again) sum(data + all / 4, data + all / 4, all / 2, MPI_COMM_WORLD);
  for (int again = 0; again < 3; ++again) sum(data, data, all, MPI_COMM_WORLD);
  expect_lent(data, all, lends);
  /* Dropped pages read as zeros. */
  CHECK(madvise(data, all * sizeof(float), MADV_DONTNEED) == 0);
  for (size_t i = 0; i < all; ++i) CHECK(data[i] == 0);
  expect_lent(data, all, 0);
  for (int again = 0; again < 3; ++again) sum(data, data, all, MPI_COMM_WORLD);
  free(data);
}

/* A child has what was there when it was made, whatever its parent does; and the other way round. */
static void children(void) {
  enum { count = (1 << 18) + 77 };
  float* data = allocated(0, count);
  for (int turn = 0; turn < 3; ++turn) {
    for (int again = 0; again < 3; ++again) sum(data, data, count, MPI_COMM_WORLD);
    expect_lent(data, count, lends);
    fill(data, count, 8);
    int go[2];
    CHECK(pipe(go) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      char byte;
      close(go[1]);
      if (read(go[0], &byte, 1) != 1) _exit(2);
      for (size_t i = 0; i < count; ++i) {
        if (data[i] != value(8, world_rank, i)) _exit(3);
      }
      memset(data, 0, count * sizeof(float));
      free(data);
      float* other = malloc(count * sizeof(float));
      memset(other, 0, count * sizeof(float));
      _exit(0);
    }
    close(go[0]);
    fill(data, count, 9);
    CHECK(write(go[1], "x", 1) == 1);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(go[1]);
    for (size_t i = 0; i < count; ++i) CHECK(data[i] == value(9, world_rank, i));
  }
  free(data);
}

/* The other functions, against MPI's own. */
static void other_functions(void) {
  enum { each = 300000 };
  const size_t all = (size_t)each * (size_t)world_size;
  float *in = allocated(0, all), *ours = allocated(0, all), *theirs = allocated(0, all);
  for (int turn = 0; turn < 4; ++turn) {
    const uint64_t number = next_number++;
    fill(in, all, number);
    DO(MPI_Reduce_scatter_block(in, ours, each, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD));
    DO(PMPI_Reduce_scatter_block(in, theirs, each, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD));
    CHECK(memcmp(ours, theirs, each * sizeof(float)) == 0);
    DO(MPI_Alltoall(in, each, MPI_FLOAT, ours, each, MPI_FLOAT, MPI_COMM_WORLD));
    DO(PMPI_Alltoall(in, each, MPI_FLOAT, theirs, each, MPI_FLOAT, MPI_COMM_WORLD));
    CHECK(memcmp(ours, theirs, all * sizeof(float)) == 0);
    memcpy(ours, in, all * sizeof(float));
    DO(MPI_Alltoall(MPI_IN_PLACE, 0, MPI_FLOAT, ours, each, MPI_FLOAT, MPI_COMM_WORLD));
    CHECK(memcmp(ours, theirs, all * sizeof(float)) == 0);
    DO(MPI_Allgather(in, each, MPI_FLOAT, ours, each, MPI_FLOAT, MPI_COMM_WORLD));
    DO(PMPI_Allgather(in, each, MPI_FLOAT, theirs, each, MPI_FLOAT, MPI_COMM_WORLD));
    CHECK(memcmp(ours, theirs, all * sizeof(float)) == 0);
    for (int root = 0; root < world_size; ++root) {
      fill(ours, all, number);
      DO(MPI_Bcast(ours, (int)all, MPI_FLOAT, root, MPI_COMM_WORLD));
      for (size_t i = 0; i < all; ++i) CHECK(ours[i] == value(number, root, i));
    }
    MPI_Request request;
    DO(MPI_Iallreduce(in, ours, (int)all, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &request));
    DO(MPI_Wait(&request, MPI_STATUS_IGNORE));
    check_sums(ours, all, number);
  }
  free(in);
  free(ours);
  free(theirs);
}

/* Some ranks' buffers are lent, others' cannot be. */
static void some_ranks(void) {
  enum { count = 400000 };
  for (int turn = 0; turn < 3; ++turn) {
    const int private = (world_rank + turn) % 2;
    float *in = private ? calloc(count, sizeof(float)) : allocated(0, count), *out = allocated(0, count);
    for (int again = 0; again < 4; ++again) sum(in, out, count, MPI_COMM_WORLD);
    free(in);
    free(out);
  }
}

static volatile int stop;

typedef struct {
  MPI_Comm comm;
  uint64_t number;
} Share;

static void* sums_of_thread(void* argument) {
  Share* share = argument;
  for (int turn = 0; turn < 12; ++turn) {
    const size_t count = lengths[turn % length_count];
    float* data = allocated(turn % ways, count);
    for (int again = 0; again < 4; ++again) {
      const uint64_t number = share->number++;
      fill(data, count, number);
      DO(MPI_Allreduce(MPI_IN_PLACE, data, (int)count, MPI_FLOAT, MPI_SUM, share->comm));
      check_sums(data, count, number);
    }
    free(data);
  }
  return NULL;
}

static void* allocations_of_thread(void* unused) {
  (void)unused;
  for (unsigned turn = 0; !stop; ++turn) {
    const size_t count = lengths[turn % length_count];
    float* data = allocated((int)(turn % ways), count);
    memset(data, (int)turn, count * sizeof(float));
    data = realloc(data, count * 5);
    CHECK(data != NULL && ((unsigned char*)data)[count - 1] == (unsigned char)turn);
    free(data);
  }
  return NULL;
}

static void* forks_of_thread(void* unused) {
  (void)unused;
  while (!stop) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      void* memory = malloc(1 << 21);
      _exit(memory == NULL);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    usleep(20000);
  }
  return NULL;
}

static void several_threads(void) {
  enum { threads = 2 };
  Share shares[threads];
  pthread_t handles[threads], others[2];
  for (int i = 0; i < threads; ++i) {
    DO(MPI_Comm_dup(MPI_COMM_WORLD, &shares[i].comm));
    shares[i].number = 1000000u * (uint64_t)(i + 1);
  }
  CHECK(pthread_create(&others[0], NULL, allocations_of_thread, NULL) == 0);
  CHECK(pthread_create(&others[1], NULL, forks_of_thread, NULL) == 0);
  for (int i = 0; i < threads; ++i) {
    CHECK(pthread_create(&handles[i], NULL, sums_of_thread, &shares[i]) == 0);
  }
  for (int i = 0; i < threads; ++i) CHECK(pthread_join(handles[i], NULL) == 0);
  stop = 1;
  for (int i = 0; i < 2; ++i) CHECK(pthread_join(others[i], NULL) == 0);
  for (int i = 0; i < threads; ++i) MPI_Comm_free(&shares[i].comm);
}

int main(int argc, char** argv) {
  const int threads = argc > 1 && strcmp(argv[argc - 1], "threads") == 0;
  int provided = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, threads ? MPI_THREAD_MULTIPLE : MPI_THREAD_SINGLE, &provided);
  CHECK(!threads || provided == MPI_THREAD_MULTIPLE);
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &world_size);
  const char* libraries = getenv("LD_PRELOAD");
  const char* setting = getenv("SHOAL_PRELOAD_LEND");
  lends = libraries != NULL && strstr(libraries, "shoal") != NULL && strstr(libraries, "asan") == NULL &&
          (setting == NULL || strcmp(setting, "off") != 0);
  const char* text = getenv("SHOAL_TEST_SEED");
  seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 1000003u;
  PMPI_Bcast(&seed, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
  if (threads) {
    several_threads();
  } else {
    whole_allocations();
    parts();
    children();
    other_functions();
    some_ranks();
  }
  enum { count = 1 << 18 };
  float* kept = allocated(0, count);
  for (int again = 0; again < 3; ++again) sum(kept, kept, count, MPI_COMM_WORLD);
  fill(kept, count, 4);
  MPI_Finalize();
  for (size_t i = 0; i < count; ++i) CHECK(kept[i] == value(4, world_rank, i));
  expect_lent(kept, count, 0);
  free(kept);
  if (world_rank == 0) printf("all right, seed %llu\n", (unsigned long long)seed);
  return 0;
}
