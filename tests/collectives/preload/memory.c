/* What malloc's family promises, kept for large blocks too when libshoal_pmpi_alloc.so serves them; a
 * plain MPI program. Under the library it also sees that the memory is shared, and that it goes back. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <mpi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
      MPI_Abort(MPI_COMM_WORLD, 1); \
    } \
  } while (0)

enum { large = 3 << 20 };

static int all_are(const unsigned char* data, size_t bytes, unsigned char what) {
  for (size_t i = 0; i < bytes; ++i) {
    if (data[i] != what) return 0;
  }
  return 1;
}

/* The permissions of the mapping that holds `pointer`: "rw-s" if it is shared. */
static int is_shared(const void* pointer) {
  FILE* maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  char line[512], rights[8];
  unsigned long long begin, end;
  int shared = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    if (sscanf(line, "%llx-%llx %7s", &begin, &end, rights) == 3 && begin <= (uintptr_t)pointer &&
        (uintptr_t)pointer < end) {
      shared = rights[3] == 's';
    }
  }
  fclose(maps);
  return shared;
}

static long shared_kib(void) { /* resident and shared */
  FILE* status = fopen("/proc/self/status", "r");
  CHECK(status != NULL);
  char line[256];
  long kib = -1;
  while (fgets(line, sizeof line, status) != NULL) sscanf(line, "RssShmem: %ld", &kib);
  fclose(status);
  return kib;
}

static void blocks(void) {
  unsigned char* a = malloc(large);
  CHECK(a != NULL);
  memset(a, 1, large);
  CHECK(malloc_usable_size(a) >= large);
  a = realloc(a, 2 * large); /* grows */
  CHECK(a != NULL && all_are(a, large, 1));
  memset(a, 2, 2 * large);
  a = realloc(a, large + 5); /* shrinks */
  CHECK(a != NULL && all_are(a, large + 5, 2));
  a = realloc(a, 100); /* becomes small */
  CHECK(a != NULL && all_are(a, 100, 2));
  a = realloc(a, large); /* becomes large */
  CHECK(a != NULL && all_are(a, 100, 2));
  free(a);
  /* What was used before must be zero again. */
  unsigned char* z = calloc(large, 1);
  CHECK(z != NULL && all_are(z, large, 0));
  free(z);
  errno = 0;
  volatile size_t half = SIZE_MAX / 2;
  CHECK(calloc(half, 3) == NULL && errno == ENOMEM);
  for (size_t alignment = sizeof(void*); alignment <= (1u << 21); alignment *= 2) {
    void* p = NULL;
    CHECK(posix_memalign(&p, alignment, large) == 0 && (uintptr_t)p % alignment == 0);
    memset(p, 3, large);
    free(p);
    p = aligned_alloc(alignment, large / alignment * alignment + alignment);
    CHECK(p != NULL && (uintptr_t)p % alignment == 0);
    free(p);
    p = memalign(alignment, large);
    CHECK(p != NULL && (uintptr_t)p % alignment == 0);
    free(p);
  }
  void* p = NULL;
  CHECK(posix_memalign(&p, 3, large) == EINVAL);
  CHECK(MPI_Alloc_mem(large, MPI_INFO_NULL, &p) == MPI_SUCCESS && p != NULL);
  memset(p, 4, large);
  CHECK(MPI_Free_mem(p) == MPI_SUCCESS);
  free(NULL);
}

static void* many(void* argument) {
  unsigned char mark = (unsigned char)(intptr_t)argument;
  for (int round = 0; round < 50; ++round) {
    const size_t bytes = 70000 + (size_t)round * 3000;
    unsigned char* a = malloc(bytes);
    unsigned char* b = calloc(bytes, 1);
    CHECK(a != NULL && b != NULL);
    memset(a, mark, bytes);
    CHECK(all_are(b, bytes, 0));
    a = realloc(a, bytes * 3);
    CHECK(a != NULL && all_are(a, bytes, mark));
    free(a);
    free(b);
  }
  return NULL;
}

static int status_of(pid_t child) {
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  return status;
}

int main(int argc, char** argv) {
  unsigned char* before = malloc(large); /* before MPI: always libc's */
  CHECK(before != NULL);
  memset(before, 5, large);
  MPI_Init(&argc, &argv);
  int rank, ranks;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const char* preload = getenv("LD_PRELOAD");
  const int served = preload != NULL && strstr(preload, "pmpi_alloc") != NULL;

  before = realloc(before, 2 * large); /* libc's block moves to ours */
  CHECK(before != NULL && all_are(before, large, 5));
  CHECK(is_shared(before) == served);
  blocks();
  pthread_t threads[4];
  for (intptr_t i = 0; i < 4; ++i) CHECK(pthread_create(&threads[i], NULL, many, (void*)(i + 1)) == 0);
  for (int i = 0; i < 4; ++i) CHECK(pthread_join(threads[i], NULL) == 0);

  /* A block that was freed may come again, but calloc's are zeros. */
  for (int i = 0; i < 3; ++i) {
    unsigned char* again = calloc(1, large);
    CHECK(again != NULL && is_shared(again) == served && all_are(again, large, 0));
    memset(again, 9, large);
    free(again);
  }

  /* Pages go back when a block is freed, but for some that are kept. */
  const long at_first = shared_kib();
  const size_t more_than_is_kept = (size_t)96 << 20;
  char* big = malloc(more_than_is_kept);
  CHECK(big != NULL && is_shared(big) == served);
  memset(big, 6, more_than_is_kept);
  if (served) CHECK(shared_kib() - at_first > 90 << 10);
  free(big);
  CHECK(shared_kib() - at_first < 8 << 10);

  const int count = large / (int)sizeof(double);
  double* in = malloc(large);
  double* out = malloc(large);
  CHECK(in != NULL && out != NULL);
  for (int i = 0; i < count; ++i) in[i] = i % 1000 + rank, out[i] = -1;
  CHECK(MPI_Allreduce(in, out, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD) == MPI_SUCCESS);
  for (int i = 0; i < count; ++i) CHECK(out[i] == i % 1000 * ranks + ranks * (ranks - 1) / 2);

  /* A child may allocate and free as it likes without a word to its parent's memory; and a block
   * that is shared is not its to write. */
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    free(in);
    char* mine = malloc(large);
    if (mine == NULL || is_shared(mine)) _exit(3);
    memset(mine, 7, large);
    free(mine);
    _exit(0);
  }
  CHECK(status_of(child) == 0);
  child = fork();
  if (child == 0) {
    *(volatile double*)out = 12345;
    _exit(0);
  }
  const int status = status_of(child);
  CHECK(served ? WIFSIGNALED(status) : status == 0);
  CHECK(out[0] == ranks * (ranks - 1) / 2);
  for (int i = 0; i < count; ++i) CHECK(in[i] == i % 1000 + rank);
  free(in);

  if (rank == 0) printf("all right\n");
  fflush(stdout);
  MPI_Finalize();
  /* Blocks outlive MPI. */
  for (int i = 0; i < count; ++i) {
    if (out[i] != i % 1000 * ranks + ranks * (ranks - 1) / 2) return 1;
  }
  out = realloc(out, 4 * large);
  if (out == NULL || out[5] != 5 * ranks + ranks * (ranks - 1) / 2) return 1;
  free(out);
  free(before);
  return 0;
}
