/* A plain MPI program, knowing nothing of Shoal: reductions of NaN, infinities and zeros of both signs, as
 * floats, doubles and complex numbers, in buffers that start at any byte.
 *
 * Sums and products follow IEEE 754 whatever the order. What MPI_MIN and MPI_MAX make of a NaN the standard
 * leaves open: some operand is the result, and where the library does the call always the NaN. */
#include <math.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t seed;
static int rank, ranks, preloaded;

static void stop_at(int line, const char* what, const char* which) {
  fprintf(stderr, "rank %d, line %d: %s, %s (seed %llu)\n", rank, line, what, which,
          (unsigned long long)seed);
  MPI_Abort(MPI_COMM_WORLD, 1);
}
#define CHECK(condition, which) \
  do { \
    if (!(condition)) stop_at(__LINE__, #condition, which); \
  } while (0)
#define DO(call) CHECK((call) == MPI_SUCCESS, "")

/* What rank `from` brings at `i`: mostly 1, else something rare. Every fourth place has no NaN. */
static double value(uint64_t number, int from, int64_t i) {
  const double rare[] = {INFINITY, -INFINITY, 0.0, -0.0, 2.0, -1.0, NAN, NAN};
  uint64_t x = seed + number * 0x9e3779b97f4a7c15u + (uint64_t)from * 0xbf58476d1ce4e5b9u +
               (uint64_t)i * 0x94d049bb133111ebu;
  x ^= x >> 31;
  x *= 0x7fb5d329728ea185u;
  x ^= x >> 27;
  if (x % 8 != 0) return 1.0;
  return rare[(x >> 8) % (i % 4 == 0 ? 6 : 8)];
}

enum { sum, prod, min, max, ops };

/* True if `got` is a reduction of all ranks' values at `i`. */
static int is_right(double got, uint64_t number, int64_t i, int op, int by_shoal) {
  double total = op == prod ? 1 : 0, least = INFINITY, most = -INFINITY;
  int nans = 0;
  for (int from = 0; from < ranks; ++from) {
    const double x = value(number, from, i);
    nans += isnan(x) ? 1 : 0;
    /* Infinities and NaN come through in any order; the rest is exact. */
    total = op == prod ? total * x : total + x;
    least = x < least ? x : least, most = x > most ? x : most;
  }
  if (op == sum || op == prod) return isnan(total) ? isnan(got) : got == total;
  if (nans == 0) return got == (op == min ? least : most);
  if (by_shoal) return isnan(got);
  for (int from = 0; from < ranks; ++from) {
    const double x = value(number, from, i);
    if (isnan(x) ? isnan(got) : got == x) return 1;
  }
  return 0;
}

typedef enum { F32, F64, C64, C128, kinds } Kind;
static const char* const names[kinds] = {"float", "double", "float complex", "double complex"};
static const size_t real_size[kinds] = {4, 8, 4, 8};
static int parts(Kind kind) { return kind < C64 ? 1 : 2; }
static MPI_Datatype type_of(Kind kind) {
  const MPI_Datatype types[kinds] = {MPI_FLOAT, MPI_DOUBLE, MPI_C_FLOAT_COMPLEX,
                                     MPI_C_DOUBLE_COMPLEX};
  return types[kind];
}

/* Numbers may lie anywhere: only bytes are copied. */
static void set(char* to, Kind kind, double x) {
  const float narrow = (float)x;
  if (real_size[kind] == 4) memcpy(to, &narrow, 4);
  else memcpy(to, &x, 8);
}
static double get(const char* from, Kind kind) {
  float narrow;
  double x;
  memcpy(&narrow, from, 4);
  if (real_size[kind] == 4) return narrow;
  memcpy(&x, from, 8);
  return x;
}

enum { margin = 64 };

typedef struct {
  char* memory;
  char* data;
  size_t bytes;
} Place;

/* `count` reals that start `shift` bytes behind a cache line, poisoned, as is what surrounds them. */
static Place place(int64_t count, Kind kind, int shift) {
  Place made;
  made.bytes = (size_t)count * real_size[kind];
  const size_t all = (made.bytes + (size_t)shift + 2 * margin + 63) / 64 * 64;
  made.memory = aligned_alloc(64, all);
  CHECK(made.memory != NULL, "");
  memset(made.memory, 0xa5, all);
  made.data = made.memory + margin + shift;
  return made;
}
static void done_with(const Place* used) {
  for (int i = 1; i <= 16; ++i) {
    CHECK((unsigned char)used->data[-i] == 0xa5, "before the buffer");
    CHECK((unsigned char)used->data[used->bytes + (size_t)i - 1] == 0xa5, "behind the buffer");
  }
  free(used->memory);
}

static Place input(uint64_t number, int64_t count, Kind kind, int shift) {
  const Place made = place(count, kind, shift);
  for (int64_t i = 0; i < count; ++i) {
    set(made.data + (size_t)i * real_size[kind], kind, value(number, rank, i));
  }
  return made;
}

static void check(const Place* got, uint64_t number, int64_t first, int64_t count, Kind kind,
                  int op, int by_shoal) {
  for (int64_t i = 0; i < count; ++i) {
    CHECK(is_right(get(got->data + (size_t)i * real_size[kind], kind), number, first + i, op,
                   by_shoal),
          names[kind]);
  }
}

/* `each` elements for every rank. */
static void reductions(uint64_t number, int each, Kind kind, int op, int in_shift, int out_shift) {
  const MPI_Op mpi_ops[ops] = {MPI_SUM, MPI_PROD, MPI_MIN, MPI_MAX};
  const MPI_Datatype type = type_of(kind);
  const int64_t mine = (int64_t)each * parts(kind), all = mine * ranks;
  /* Less is left to MPI. */
  const int scattered = preloaded && (size_t)all * real_size[kind] >= 1024;
  Place in = input(number, all, kind, in_shift);
  Place out = place(all, kind, out_shift);
  DO(MPI_Allreduce(in.data, out.data, each * ranks, type, mpi_ops[op], MPI_COMM_WORLD));
  check(&out, number, 0, all, kind, op, preloaded);
  done_with(&out);

  out = place(all, kind, out_shift);
  MPI_Request request;
  DO(MPI_Iallreduce(in.data, out.data, each * ranks, type, mpi_ops[op], MPI_COMM_WORLD, &request));
  DO(MPI_Wait(&request, MPI_STATUS_IGNORE));
  check(&out, number, 0, all, kind, op, preloaded);
  done_with(&out);

  out = place(mine, kind, out_shift);
  DO(MPI_Reduce_scatter_block(in.data, out.data, each, type, mpi_ops[op], MPI_COMM_WORLD));
  check(&out, number, mine * rank, mine, kind, op, scattered);
  done_with(&out);

  int* counts = malloc((size_t)ranks * sizeof *counts);
  CHECK(counts != NULL, "");
  for (int to = 0; to < ranks; ++to) counts[to] = each;
  DO(MPI_Reduce_scatter(MPI_IN_PLACE, in.data, counts, type, mpi_ops[op], MPI_COMM_WORLD));
  in.bytes = (size_t)all * real_size[kind];
  check(&in, number, mine * rank, mine, kind, op, scattered);
  done_with(&in);
  free(counts);
}

/* What is moved only, to and from any byte. */
static void movements(uint64_t number, int each, int in_shift, int out_shift) {
  const int64_t all = (int64_t)each * ranks;
  Place in = input(number, all, F64, in_shift);
  Place out = place(all, F64, out_shift);
  const int reals = each / 8 * 8;
  DO(MPI_Allgather(in.data, reals, MPI_DOUBLE, out.data, reals, MPI_DOUBLE, MPI_COMM_WORLD));
  for (int64_t i = 0; i < (int64_t)reals * ranks; ++i) {
    const double got = get(out.data + i * 8, F64), wanted = value(number, (int)(i / reals), i % reals);
    CHECK(isnan(wanted) ? isnan(got) : got == wanted, "all-gather");
  }
  DO(MPI_Alltoall(in.data, each, MPI_DOUBLE, out.data, each, MPI_DOUBLE, MPI_COMM_WORLD));
  for (int64_t i = 0; i < all; ++i) {
    const double got = get(out.data + i * 8, F64);
    const double wanted = value(number, (int)(i / each), (int64_t)rank * each + i % each);
    CHECK(isnan(wanted) ? isnan(got) : got == wanted, "all-to-all");
  }
  if (rank == 0) memcpy(out.data, in.data, in.bytes);
  DO(MPI_Bcast(out.data, (int)all, MPI_DOUBLE, 0, MPI_COMM_WORLD));
  for (int64_t i = 0; i < all; ++i) {
    const double got = get(out.data + i * 8, F64), wanted = value(number, 0, i);
    CHECK(isnan(wanted) ? isnan(got) : got == wanted, "broadcast");
  }
  done_with(&in);
  done_with(&out);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const char* libraries = getenv("LD_PRELOAD");
  /* Over several nodes it depends on the length whose a call is: there the looser rule of MPI's
   * holds. */
  preloaded = libraries != NULL && strstr(libraries, "shoal") != NULL && ranks > 1 &&
              getenv("SHOAL_NODES") == NULL;
  const char* text = getenv("SHOAL_TEST_SEED");
  seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 1000003u;
  PMPI_Bcast(&seed, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
  /* From what fits a cache line to what takes several chunks. */
  static const int lengths[] = {1, 7, 301, 5003, 150001};
  static const int shifts[] = {0, 4, 1, 63};
  uint64_t number = 0;
  for (int length = 0; length < 5; ++length) {
    for (int kind = 0; kind < kinds; ++kind) {
      for (int op = 0; op < (kind < C64 ? ops : 1); ++op) { /* complex ones: sums */
        const int shift = (int)(number % 4);
        reductions(number, lengths[length], (Kind)kind, op, shifts[shift], shifts[(shift + length) % 4]);
        ++number;
      }
    }
    for (int shift = 0; shift < 4; ++shift, ++number) {
      movements(number, lengths[length], shifts[shift], shifts[(shift + 1) % 4]);
    }
  }
  if (rank == 0) printf("all right, seed %llu\n", (unsigned long long)seed);
  MPI_Finalize();
  return 0;
}
