/* A plain MPI program, knowing nothing of Shoal: every collective that libshoal_pmpi.so takes over, and
 * much that it must leave alone, with the results worked out here, element by element.
 *
 *     program [threads]     "threads": several threads with MPI_THREAD_MULTIPLE
 *
 * All numbers are small integers, so that sums are exact in every type and any order. */
#include <mpi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"

static int preloaded;

/* What rank `rank` brings as element `i` of case `number`: 1 to 5. */
static int value(uint64_t number, int rank, int64_t i) {
  uint64_t x = seed + number * 0x9e3779b97f4a7c15u + (uint64_t)rank * 0xbf58476d1ce4e5b9u +
               (uint64_t)i * 0x94d049bb133111ebu;
  x ^= x >> 31;
  x *= 0x7fb5d329728ea185u;
  x ^= x >> 27;
  return (int)(x % 5) + 1;
}

typedef enum { I8, U8, I16, I32, U32, I64, F32, F64, C64, LD, kinds } Kind;

static MPI_Datatype mpi_of(Kind kind) {
  switch (kind) {
    case I8: return MPI_INT8_T;
    case U8: return MPI_UINT8_T;
    case I16: return MPI_SHORT;
    case I32: return MPI_INT;
    case U32: return MPI_UNSIGNED;
    case I64: return MPI_LONG;
    case F32: return MPI_FLOAT;
    case F64: return MPI_DOUBLE;
    case C64: return MPI_C_FLOAT_COMPLEX;
    default: return MPI_LONG_DOUBLE;
  }
}

static size_t size_of(Kind kind) {
  static const size_t sizes[kinds] = {1, 1, 2, 4, 4, 8, 4, 8, 8, sizeof(long double)};
  return sizes[kind];
}

static void set(void* data, int64_t i, Kind kind, int x) {
  switch (kind) {
    case I8: ((int8_t*)data)[i] = (int8_t)x; break;
    case U8: ((uint8_t*)data)[i] = (uint8_t)x; break;
    case I16: ((int16_t*)data)[i] = (int16_t)x; break;
    case I32: ((int32_t*)data)[i] = x; break;
    case U32: ((uint32_t*)data)[i] = (uint32_t)x; break;
    case I64: ((int64_t*)data)[i] = x; break;
    case F32: ((float*)data)[i] = (float)x; break;
    case F64: ((double*)data)[i] = x; break;
    case C64:
      ((float*)data)[2 * i] = (float)x;
      ((float*)data)[2 * i + 1] = (float)-x;
      break;
    default: ((long double*)data)[i] = x; break;
  }
}

static int is(const void* data, int64_t i, Kind kind, int x) {
  long double expected[4] = {0, 0, 0, 0}; /* room for any one element */
  set(expected, 0, kind, x);
  /* x87's long double has bytes that hold nothing. */
  const size_t bytes = kind == LD ? 10 : size_of(kind);
  return memcmp((const char*)data + (size_t)i * size_of(kind), expected, bytes) == 0;
}

static void user_sum(void* in, void* inout, int* count, MPI_Datatype* type) {
  (void)type;
  for (int i = 0; i < *count; ++i) ((int*)inout)[i] += ((int*)in)[i];
}

static MPI_Op user_op;

enum { sum, prod, min, max, band, ops };

static MPI_Op op_of(int op) {
  const MPI_Op all[ops] = {MPI_SUM, MPI_PROD, MPI_MIN, MPI_MAX, MPI_BAND};
  return all[op];
}

/* The reduction of element `i` over `ranks` ranks; of at most 3 for a product, so that 8 bits hold it. */
static int reduced(uint64_t number, int ranks, int64_t i, int op) {
  int result = value(number, 0, i);
  for (int rank = 1; rank < ranks; ++rank) {
    const int x = rank < 3 || op != prod ? value(number, rank, i) : 1;
    switch (op) {
      case sum: result += x; break;
      case prod: result *= x; break;
      case min: result = x < result ? x : result; break;
      case max: result = x > result ? x : result; break;
      default: result &= x; break;
    }
  }
  return result;
}

static void* filled(uint64_t number, int rank, int64_t count, Kind kind, int op) {
  void* data = malloc((size_t)count * size_of(kind) + 1);
  CHECK(data != NULL);
  for (int64_t i = 0; i < count; ++i) {
    set(data, i, kind, rank < 3 || op != prod ? value(number, rank, i) : 1);
  }
  return data;
}

static void* poisoned(int64_t count, Kind kind) {
  void* data = malloc((size_t)count * size_of(kind) + 1);
  CHECK(data != NULL);
  memset(data, 0xa5, (size_t)count * size_of(kind) + 1);
  return data;
}

/* The byte behind a poisoned() buffer must stay. */
static void done_with(void* data, int64_t count, Kind kind) {
  CHECK(((unsigned char*)data)[(size_t)count * size_of(kind)] == 0xa5);
  free(data);
}

static int defined(Kind kind, int op) {
  if (op == band) return kind < F32;
  if (kind == C64) return op == sum;
  return 1;
}

/* Complex elements are x − ix: only sums are asked for. */
static void reductions(MPI_Comm comm, uint64_t number, int64_t count, Kind kind, int op) {
  int rank, ranks;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  const MPI_Datatype type = mpi_of(kind);
  void* in = filled(number, rank, count, kind, op);
  void* out = poisoned(count, kind);
  DO(MPI_Allreduce(in, out, (int)count, type, op_of(op), comm));
  for (int64_t i = 0; i < count; ++i) CHECK(is(out, i, kind, reduced(number, ranks, i, op)));
  memcpy(out, in, (size_t)count * size_of(kind));
  DO(MPI_Allreduce(MPI_IN_PLACE, out, (int)count, type, op_of(op), comm));
  for (int64_t i = 0; i < count; ++i) CHECK(is(out, i, kind, reduced(number, ranks, i, op)));
  done_with(out, count, kind);
  free(in);

  /* Uneven blocks, some of them empty; then even ones. Both also in place. */
  int* counts = malloc((size_t)ranks * sizeof *counts);
  CHECK(counts != NULL);
  for (int even = 0; even < 2; ++even) {
    int64_t total = 0, start = 0;
    for (int r = 0; r < ranks; ++r) {
      counts[r] = even ? (int)count : (int)(count * (r % 3) / 2);
      if (r < rank) start += counts[r];
      total += counts[r];
    }
    in = filled(number, rank, total, kind, op);
    out = poisoned(counts[rank], kind);
    if (even) DO(MPI_Reduce_scatter_block(in, out, (int)count, type, op_of(op), comm));
    else DO(MPI_Reduce_scatter(in, out, counts, type, op_of(op), comm));
    for (int64_t i = 0; i < counts[rank]; ++i) {
      CHECK(is(out, i, kind, reduced(number, ranks, start + i, op)));
    }
    done_with(out, counts[rank], kind);
    out = poisoned(total, kind);
    memcpy(out, in, (size_t)total * size_of(kind));
    if (even) DO(MPI_Reduce_scatter_block(MPI_IN_PLACE, out, (int)count, type, op_of(op), comm));
    else DO(MPI_Reduce_scatter(MPI_IN_PLACE, out, counts, type, op_of(op), comm));
    for (int64_t i = 0; i < counts[rank]; ++i) {
      CHECK(is(out, i, kind, reduced(number, ranks, start + i, op)));
    }
    done_with(out, total, kind);
    free(in);
  }
  free(counts);
}

/* `odd`: this rank describes the same ints by a derived type. */
static void movements(MPI_Comm comm, uint64_t number, int count, int odd) {
  int rank, ranks;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  const int all = count * ranks;
  /* Every second int of twice the room. */
  MPI_Datatype spread;
  DO(MPI_Type_vector(count, 1, 2, MPI_INT, &spread));
  DO(MPI_Type_commit(&spread));
  MPI_Datatype run;
  DO(MPI_Type_contiguous(count, MPI_INT, &run));
  DO(MPI_Type_commit(&run));

  for (int root = 0; root < ranks; ++root) {
    int* data = poisoned(2 * count, I32);
    const int step = odd ? 2 : 1;
    if (rank == root) {
      for (int i = 0; i < count; ++i) data[step * i] = value(number, root, i);
    }
    if (odd) DO(MPI_Bcast(data, 1, spread, root, comm));
    else DO(MPI_Bcast(data, count, MPI_INT, root, comm));
    for (int i = 0; i < count; ++i) CHECK(data[step * i] == value(number, root, i));
    done_with(data, 2 * count, I32);
  }

  int* in = filled(number, rank, all, I32, sum);
  int* out = poisoned(all, I32);
  if (odd) DO(MPI_Allgather(in, 1, run, out, count, MPI_INT, comm));
  else DO(MPI_Allgather(in, count, MPI_INT, out, count, MPI_INT, comm));
  for (int i = 0; i < all; ++i) CHECK(out[i] == value(number, i / count, i % count));
  memset(out, 0xa5, (size_t)all * sizeof *out);
  memcpy(out + rank * count, in, (size_t)count * sizeof *out);
  DO(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, out, count, MPI_INT, comm));
  for (int i = 0; i < all; ++i) CHECK(out[i] == value(number, i / count, i % count));

  memset(out, 0xa5, (size_t)all * sizeof *out);
  if (odd) DO(MPI_Alltoall(in, 1, run, out, 1, run, comm));
  else DO(MPI_Alltoall(in, count, MPI_INT, out, count, MPI_INT, comm));
  for (int i = 0; i < all; ++i) {
    CHECK(out[i] == value(number, i / count, rank * count + i % count));
  }
  memcpy(out, in, (size_t)all * sizeof *out);
  DO(MPI_Alltoall(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, out, count, MPI_INT, comm));
  for (int i = 0; i < all; ++i) {
    CHECK(out[i] == value(number, i / count, rank * count + i % count));
  }
  memcpy(out, in, (size_t)all * sizeof *out);
  if (odd) DO(MPI_Alltoall(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, out, 1, run, comm));
  else DO(MPI_Alltoall(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, out, count, MPI_INT, comm));
  for (int i = 0; i < all; ++i) {
    CHECK(out[i] == value(number, i / count, rank * count + i % count));
  }
  done_with(out, all, I32);
  free(in);
  MPI_Type_free(&spread);
  MPI_Type_free(&run);
}

/* What a finished collective's status says; Open MPI alone leaves the count as it was. */
static void check_status(const MPI_Status* status) {
  int count = -1, cancelled = -1;
  DO(MPI_Get_count(status, MPI_INT, &count));
  CHECK(count == 0 || !preloaded);
  DO(MPI_Test_cancelled(status, &cancelled));
  CHECK(!cancelled);
}

enum { most_begun = 8 };

typedef struct {
  void* in;
  void* out;
  uint64_t number;
  int64_t count;
  Kind kind;
  int op;
} Begun;

static MPI_Request begin(MPI_Comm comm, Begun* begun, uint64_t number, int64_t count, Kind kind,
                         int op, int in_place) {
  int rank;
  MPI_Comm_rank(comm, &rank);
  MPI_Request request = MPI_REQUEST_NULL;
  begun->number = number, begun->count = count, begun->kind = kind, begun->op = op;
  begun->in = filled(number, rank, count, kind, op);
  begun->out = poisoned(count, kind);
  if (in_place) memcpy(begun->out, begun->in, (size_t)count * size_of(kind));
  DO(MPI_Iallreduce(in_place ? MPI_IN_PLACE : begun->in, begun->out, (int)count, mpi_of(kind),
                    op_of(op), comm, &request));
  CHECK(request != MPI_REQUEST_NULL);
  return request;
}

static void end(MPI_Comm comm, const Begun* begun) {
  int ranks;
  MPI_Comm_size(comm, &ranks);
  for (int64_t i = 0; i < begun->count; ++i) {
    CHECK(is(begun->out, i, begun->kind, reduced(begun->number, ranks, i, begun->op)));
  }
  done_with(begun->out, begun->count, begun->kind);
  free(begun->in);
}

/* MPI_Iallreduce: several under way, beside other collectives and messages, waited for in every way.
 * The ranks do not all wait alike. */
static void nonblocking(MPI_Comm comm, uint64_t number) {
  static const int64_t counts[most_begun] = {1, 30, 700, 2000, 70000, 1, 300000, 5};
  int rank, ranks;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  if (ranks == 1) return;
  Begun begun[most_begun];
  MPI_Request requests[most_begun];
  MPI_Status statuses[most_begun], status;
  int indices[most_begun];
  for (int way = 0; way < 8; ++way) {
    for (int i = 0; i < most_begun; ++i) {
      requests[i] = begin(comm, &begun[i], number + (uint64_t)(way * most_begun + i), counts[i],
                          i % 2 ? F32 : I64, (i + way) % 4, i % 3 == 0);
      if (i == 4) DO(MPI_Barrier(comm));
    }
    /* Other collectives of the communicator, and messages, in between. */
    int sum_of_ranks = 0, past = -1;
    if (way % 2) DO(MPI_Allreduce(&rank, &sum_of_ranks, 1, MPI_INT, MPI_SUM, comm));
    DO(MPI_Sendrecv(&rank, 1, MPI_INT, (rank + 1) % ranks, 5, &past, 1, MPI_INT,
                    (rank + ranks - 1) % ranks, 5, comm, MPI_STATUS_IGNORE));
    CHECK(past == (rank + ranks - 1) % ranks);
    CHECK(way % 2 == 0 || sum_of_ranks == ranks * (ranks - 1) / 2);
    int left = most_begun, flag = 0, index = 0;
    switch ((way + rank) % 8) {
      case 0:
        for (int i = most_begun - 1; i >= 0; --i) DO(MPI_Wait(&requests[i], &statuses[i]));
        break;
      case 1: DO(MPI_Waitall(most_begun, requests, statuses)); break;
      case 2:
        while (left-- > 0) {
          DO(MPI_Waitany(most_begun, requests, &index, &status));
          CHECK(index >= 0 && index < most_begun && requests[index] == MPI_REQUEST_NULL);
          statuses[index] = status;
        }
        break;
      case 3:
        while (left > 0) {
          int done = 0;
          MPI_Status some[most_begun];
          DO(MPI_Waitsome(most_begun, requests, &done, indices, some));
          CHECK(done > 0);
          for (int i = 0; i < done; ++i) statuses[indices[i]] = some[i];
          left -= done;
        }
        break;
      case 4:
        for (int i = 0; i < most_begun; ++i) {
          for (flag = 0; !flag;) DO(MPI_Request_get_status(requests[i], &flag, &status));
          check_status(&status);
          for (flag = 0; !flag;) DO(MPI_Test(&requests[i], &flag, &statuses[i]));
        }
        break;
      case 5: while (!flag) DO(MPI_Testall(most_begun, requests, &flag, statuses)); break;
      case 6:
        while (left > 0) {
          DO(MPI_Testany(most_begun, requests, &index, &flag, &status));
          if (!flag) continue;
          statuses[index] = status;
          --left;
        }
        break;
      default:
        while (left > 0) {
          int done = 0;
          MPI_Status some[most_begun];
          DO(MPI_Testsome(most_begun, requests, &done, indices, some));
          for (int i = 0; i < done; ++i) statuses[indices[i]] = some[i];
          left -= done;
        }
        break;
    }
    for (int i = 0; i < most_begun; ++i) {
      CHECK(requests[i] == MPI_REQUEST_NULL);
      check_status(&statuses[i]);
      end(comm, &begun[i]);
    }
  }
  /* It must not wait for the others, be it the first on its communicator or not. */
  MPI_Comm copy;
  DO(MPI_Comm_dup(comm, &copy));
  for (int round = 0; round < 4; ++round) {
    int token = round;
    MPI_Request request = MPI_REQUEST_NULL;
    if (rank == 1) DO(MPI_Recv(&token, 1, MPI_INT, 0, 6, comm, MPI_STATUS_IGNORE));
    request = begin(copy, &begun[0], number + 200 + (uint64_t)round, 100000, F64, sum, 0);
    if (rank == 0) DO(MPI_Send(&token, 1, MPI_INT, 1, 6, comm));
    if (round == 1) DO(MPI_Barrier(copy));
    /* What is under way ends all the same; but Open MPI 4.1.4 alone frees what it needs, and crashes. */
    const int early = round == 3 && preloaded;
    if (early) MPI_Comm_free(&copy);
    DO(MPI_Wait(&request, MPI_STATUS_IGNORE));
    end(comm, &begun[0]);
    if (round == 3 && !early) MPI_Comm_free(&copy);
  }
}

/* What only MPI does. */
static void foreign(MPI_Comm comm, uint64_t number) {
  int rank, ranks;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  int* in = filled(number, rank, 100, I32, sum);
  int* out = poisoned(100, I32);
  DO(MPI_Allreduce(in, out, 100, MPI_INT, user_op, comm));
  for (int i = 0; i < 100; ++i) CHECK(out[i] == reduced(number, ranks, i, sum));
  MPI_Request request;
  memset(out, 0xa5, 100 * sizeof *out);
  DO(MPI_Iallreduce(in, out, 100, MPI_INT, user_op, comm, &request));
  DO(MPI_Wait(&request, MPI_STATUS_IGNORE));
  for (int i = 0; i < 100; ++i) CHECK(out[i] == reduced(number, ranks, i, sum));
  struct {
    double x;
    int where;
  } mine = {rank, rank}, best = {-1, -1};
  DO(MPI_Allreduce(&mine, &best, 1, MPI_DOUBLE_INT, MPI_MAXLOC, comm));
  CHECK(best.where == ranks - 1);
  /* Unsigned numbers are ordered as such, and nothing at all is a length. */
  unsigned large = rank == 0 ? 0xfffffff0u : 7u, largest = 0;
  DO(MPI_Allreduce(&large, &largest, 1, MPI_UNSIGNED, MPI_MAX, comm));
  CHECK(largest == 0xfffffff0u);
  DO(MPI_Allreduce(NULL, NULL, 0, MPI_INT, MPI_SUM, comm));
  DO(MPI_Bcast(NULL, 0, MPI_INT, 0, comm));
  /* A wrong argument is MPI's to report. */
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
  CHECK(MPI_Bcast(in, 1, MPI_INT, ranks, comm) != MPI_SUCCESS);
  CHECK(MPI_Allreduce(in, out, -1, MPI_INT, MPI_SUM, comm) != MPI_SUCCESS);
  CHECK(MPI_Allreduce(in, out, 1, MPI_DATATYPE_NULL, MPI_SUM, comm) != MPI_SUCCESS);
  /* One buffer for both is refused for some lengths, which Open MPI tells to the world. */
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  for (int count = 1; count <= 100; count += 99) {
    const int code = PMPI_Allreduce(out, out, count, MPI_INT, MPI_MAX, comm);
    CHECK(MPI_Allreduce(out, out, count, MPI_INT, MPI_MAX, comm) == code);
    request = MPI_REQUEST_NULL;
    CHECK(MPI_Iallreduce(out, out, count, MPI_INT, MPI_MAX, comm, &request) == code);
    DO(MPI_Wait(&request, MPI_STATUS_IGNORE));
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL);
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_ARE_FATAL);
  done_with(out, 100, I32);
  free(in);
}

/* A message that goes on only while its sender, already in the collective, looks after MPI. */
static void progress(MPI_Comm comm) {
  int rank, ranks;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  const int count = 4 << 20;
  if (ranks == 1) return;
  char* data = malloc((size_t)count);
  CHECK(data != NULL);
  memset(data, rank + 1, (size_t)count);
  MPI_Request request = MPI_REQUEST_NULL;
  if (rank == 0) DO(MPI_Isend(data, count, MPI_CHAR, 1, 7, comm, &request));
  if (rank == 1) DO(MPI_Recv(data, count, MPI_CHAR, 0, 7, comm, MPI_STATUS_IGNORE));
  int one = 1, all = 0;
  DO(MPI_Allreduce(&one, &all, 1, MPI_INT, MPI_SUM, comm));
  CHECK(all == ranks);
  DO(MPI_Wait(&request, MPI_STATUS_IGNORE));
  if (rank == 1) CHECK(data[count - 1] == 1);
  free(data);
}

static void between_groups(uint64_t number) {
  int rank, ranks;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (ranks == 1) return;
  MPI_Comm half, inter, merged;
  const int upper = rank >= ranks / 2;
  DO(MPI_Comm_split(MPI_COMM_WORLD, upper, rank, &half));
  DO(MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, upper ? 0 : ranks / 2, 3, &inter));
  int mine = 1, theirs = 0, remote = 0;
  MPI_Comm_remote_size(inter, &remote);
  DO(MPI_Allreduce(&mine, &theirs, 1, MPI_INT, MPI_SUM, inter));
  CHECK(theirs == remote);
  DO(MPI_Barrier(inter));
  DO(MPI_Intercomm_merge(inter, upper, &merged));
  reductions(merged, number, 700, F64, sum);
  MPI_Comm_free(&merged);
  MPI_Comm_free(&inter);
  MPI_Comm_free(&half);
}

static const int64_t lengths[] = {1, 7, 300, 5000, 70000};

static void everything(MPI_Comm comm, uint64_t number) {
  int rank;
  MPI_Comm_rank(comm, &rank);
  for (int kind = 0; kind < kinds; ++kind) {
    for (int op = 0; op < ops; ++op) {
      if (!defined((Kind)kind, op)) continue;
      const int64_t length = lengths[(kind + op + (int)number) % 5];
      reductions(comm, number + (uint64_t)(kind * ops + op), length, (Kind)kind, op);
    }
  }
  for (int i = 0; i < 5; ++i) {
    movements(comm, number + 100 + (uint64_t)i, (int)lengths[i], 0);
    movements(comm, number + 200 + (uint64_t)i, (int)lengths[i], rank % 2);
    DO(MPI_Barrier(comm));
  }
}

static int copies = 0, deletions = 0;
static int on_copy(MPI_Comm comm, int key, void* extra, void* in, void* out, int* flag) {
  (void)comm, (void)key, (void)extra;
  ++copies;
  *(void**)out = in;
  *flag = 1;
  return MPI_SUCCESS;
}
static int on_delete(MPI_Comm comm, int key, void* value_, void* extra) {
  (void)comm, (void)key, (void)value_, (void)extra;
  ++deletions;
  return MPI_SUCCESS;
}

/* The program's own attributes must not notice anybody else's communicators. */
static void attributes(void) {
  int key = MPI_KEYVAL_INVALID, x = 1, y = 0;
  MPI_Comm comm, other;
  DO(MPI_Comm_create_keyval(on_copy, on_delete, &key, NULL));
  DO(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
  DO(MPI_Comm_set_attr(comm, key, &x));
  DO(MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, comm));
  CHECK(copies == 0);
  DO(MPI_Comm_dup(comm, &other));
  CHECK(copies == 1);
  DO(MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, other));
  MPI_Comm_free(&comm);
  DO(MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, other));
  MPI_Comm_free(&other);
  CHECK(copies == 1 && deletions == 2);
  MPI_Comm_free_keyval(&key);
}

typedef struct {
  MPI_Comm comm;
  uint64_t number;
} Work;

static void* work(void* argument) {
  const Work* mine = argument;
  for (uint64_t round = 0; round < 3; ++round) {
    MPI_Comm copy;
    DO(MPI_Comm_dup(mine->comm, &copy));
    for (int i = 0; i < 5; ++i) {
      reductions(mine->comm, mine->number + round, lengths[i], F32, sum);
      reductions(copy, mine->number + round, lengths[i], I32, max);
      movements(copy, mine->number + round, 300, 0);
    }
    nonblocking(mine->comm, mine->number + round);
    MPI_Comm_free(&copy);
  }
  return NULL;
}

int main(int argc, char** argv) {
  const int threads = argc > 1 && strcmp(argv[1], "threads") == 0;
  int provided = MPI_THREAD_SINGLE;
  if (threads) MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  else MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  int ranks;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const char* libraries = getenv("LD_PRELOAD");
  /* Over several nodes MPI_Iallreduce is MPI's. */
  preloaded =
      libraries != NULL && strstr(libraries, "shoal") != NULL && getenv("SHOAL_NODES") == NULL;
  const char* text = getenv("SHOAL_TEST_SEED");
  seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 1000003u;
  PMPI_Bcast(&seed, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);

  if (threads) {
    if (provided < MPI_THREAD_MULTIPLE) {
      if (world_rank == 0) printf("no threads\n");
      MPI_Finalize();
      return 0;
    }
    enum { most = 3 };
    pthread_t handles[most];
    Work works[most];
    for (int i = 0; i < most; ++i) {
      DO(MPI_Comm_dup(MPI_COMM_WORLD, &works[i].comm));
      works[i].number = 1000u * (uint64_t)i;
    }
    for (int i = 0; i < most; ++i) CHECK(pthread_create(&handles[i], NULL, work, &works[i]) == 0);
    for (int i = 0; i < most; ++i) CHECK(pthread_join(handles[i], NULL) == 0);
    for (int i = 0; i < most; ++i) MPI_Comm_free(&works[i].comm);
  } else {
    DO(MPI_Op_create(user_sum, 1, &user_op));
    everything(MPI_COMM_WORLD, 0);
    nonblocking(MPI_COMM_WORLD, 300);
    foreign(MPI_COMM_WORLD, 500);
    progress(MPI_COMM_WORLD);
    attributes();
    between_groups(600);
    /* Communicators come and go, and their handles come again. */
    for (int round = 0; round < 6; ++round) {
      MPI_Comm part, copy;
      DO(MPI_Comm_split(MPI_COMM_WORLD, round % 2 ? world_rank % 2 : 0, -world_rank, &part));
      reductions(part, 700 + (uint64_t)round, lengths[round % 5], F64, max);
      DO(MPI_Comm_dup(part, &copy));
      MPI_Comm_free(&part);
      movements(copy, 800 + (uint64_t)round, 300, world_rank % 2);
      foreign(copy, 900 + (uint64_t)round);
      MPI_Comm_free(&copy);
    }
    everything(MPI_COMM_SELF, 950);
    DO(MPI_Barrier(MPI_COMM_WORLD));
    MPI_Op_free(&user_op);
  }
  if (world_rank == 0) printf("all right, seed %llu\n", (unsigned long long)seed);
  MPI_Finalize();
  return 0;
}
