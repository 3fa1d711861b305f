/* The C interface on any number of ranks: every function gives what its definition says, and what is wrong
 * is a code and a text. C11 with -pedantic. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shoal.h>

static int rank, size;

#define EXPECT(condition)                                                                          \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "rank %d, line %d: not so: %s (last error: %s)\n", rank, __LINE__, #condition, \
              shoal_last_error());                                                                 \
      shoal_abort(1);                                                                              \
    }                                                                                              \
  } while (0)
#define OK(call) EXPECT((call) == SHOAL_OK)

static int64_t *counts_of(int64_t each, int64_t more) {
  int64_t *counts = malloc((size_t)size * sizeof *counts);
  for (int i = 0; i < size; ++i) counts[i] = each + more * i;
  return counts;
}

static int64_t sum_of(const int64_t *counts, int until) {
  int64_t sum = 0;
  for (int i = 0; i < until; ++i) sum += counts[i];
  return sum;
}

static int sum_of_ranks(void) { return size * (size - 1) / 2; }

static void test_collectives(const shoal_comm *comm, int blocking) {
  shoal_work *work = NULL;
  int64_t *counts = counts_of(3, 2); /* rank r has 3 + 2 r elements */
  const int64_t all = sum_of(counts, size), before = sum_of(counts, rank), mine = counts[rank];
  float *in = malloc((size_t)all * sizeof *in), *out = malloc((size_t)all * sizeof *out);

  for (int64_t i = 0; i < all; ++i) in[i] = (float)(rank + i), out[i] = NAN;
  if (blocking) {
    OK(shoal_all_reduce(comm, in, out, all, SHOAL_F32, SHOAL_SUM));
  } else {
    OK(shoal_start_all_reduce(comm, in, out, all, SHOAL_F32, SHOAL_SUM, &work));
    OK(shoal_wait(work));
    shoal_work_free(work);
  }
  for (int64_t i = 0; i < all; ++i) EXPECT(out[i] == (float)(sum_of_ranks() + size * i));

  for (int64_t i = 0; i < all; ++i) out[i] = NAN;
  if (blocking) {
    OK(shoal_reduce_scatter(comm, in, out, counts, SHOAL_F32, SHOAL_MAX));
  } else {
    OK(shoal_start_reduce_scatter(comm, in, out, counts, SHOAL_F32, SHOAL_MAX, &work));
    int done = 0;
    while (!done) OK(shoal_test(work, &done));
    shoal_work_free(work);
  }
  for (int64_t i = 0; i < mine; ++i) EXPECT(out[i] == (float)(size - 1 + before + i));

  if (blocking) {
    OK(shoal_all_gather(comm, in, out, counts, SHOAL_F32));
  } else {
    OK(shoal_start_all_gather(comm, in, out, counts, SHOAL_F32, &work));
    shoal_work_free(work); /* waits */
  }
  for (int r = 0, at = 0; r < size; ++r) {
    for (int64_t i = 0; i < counts[r]; ++i) EXPECT(out[at++] == (float)(r + i));
  }

  if (blocking) {
    OK(shoal_broadcast(comm, in, all, SHOAL_F32, size - 1));
  } else {
    OK(shoal_start_broadcast(comm, in, all, SHOAL_F32, size - 1, &work));
    OK(shoal_wait(work));
    shoal_work_free(work);
  }
  for (int64_t i = 0; i < all; ++i) EXPECT(in[i] == (float)(size - 1 + i));

  /* Rank a sends a + b + 1 numbers to rank b. */
  int64_t *sent = counts_of(rank + 1, 1);
  const int64_t total = sum_of(sent, size);
  int32_t *from = malloc((size_t)total * sizeof *from), *to = malloc((size_t)total * sizeof *to);
  for (int b = 0, at = 0; b < size; ++b) {
    for (int64_t i = 0; i < sent[b]; ++i) from[at++] = 100 * rank + b;
  }
  if (blocking) {
    OK(shoal_all_to_all(comm, from, sent, to, sent, SHOAL_I32));
    OK(shoal_barrier(comm));
  } else {
    OK(shoal_start_all_to_all(comm, from, sent, to, sent, SHOAL_I32, &work));
    OK(shoal_wait(work));
    shoal_work_free(work);
    OK(shoal_start_barrier(comm, &work));
    OK(shoal_wait(work));
    shoal_work_free(work);
  }
  for (int a = 0, at = 0; a < size; ++a) {
    for (int64_t i = 0; i < sent[a]; ++i) EXPECT(to[at++] == 100 * a + rank);
  }
  free(counts), free(in), free(out), free(sent), free(from), free(to);
}

static void test_messages(const shoal_comm *comm) {
  const int right = (rank + 1) % size, left = (rank + size - 1) % size;
  double out = rank, in = -1;
  OK(shoal_send_receive(comm, &out, 1, right, &in, 1, left, SHOAL_F64, 5));
  EXPECT(in == left);
  if (size > 1 && rank == 0) OK(shoal_send(comm, &out, 1, SHOAL_F64, 1, 0));
  if (rank == 1) OK(shoal_receive(comm, &in, 1, SHOAL_F64, 0, 0));
  if (rank == 1) EXPECT(in == 0);
}

static void test_groups(const shoal_comm *comm) {
  shoal_comm *part = NULL, *axis = NULL;
  shoal_mesh *mesh = NULL;
  OK(shoal_split(comm, rank % 2, -rank, "parity", &part));
  EXPECT(shoal_size(part) == (size + 1 - rank % 2) / 2);
  EXPECT(strcmp(shoal_name(part), "parity") == 0);
  int64_t sum = rank;
  OK(shoal_all_reduce(part, &sum, &sum, 1, SHOAL_I64, SHOAL_SUM));
  int64_t wanted = 0;
  for (int r = rank % 2; r < size; r += 2) wanted += r;
  EXPECT(sum == wanted);
  shoal_comm_free(part);
  char shape[32];
  snprintf(shape, sizeof shape, "dp=1,tp=%d", size);
  OK(shoal_mesh_create(comm, shape, &mesh));
  OK(shoal_mesh_axis(mesh, "tp", &axis));
  EXPECT(shoal_size(axis) == size);
  OK(shoal_mesh_axis(mesh, "dp", &axis));
  EXPECT(shoal_size(axis) == 1);
  shoal_mesh_free(mesh);
}

/* Column- and row-parallel one after the other, against the whole matrices. */
static void test_linear(const shoal_comm *comm) {
  enum { rows = 3, width = 5, each = 4 };
  const int hidden = each * size;
  float x[rows * width], h[rows * each], y[rows * width], dh[rows * each], dx[rows * width];
  float *w1 = malloc((size_t)(hidden * width) * sizeof *w1), w2[width * each], b2[width];
  float dw1[each * width], db1[each], dw2[width * each], db2[width];
  for (int i = 0; i < rows * width; ++i) x[i] = (float)(i % 7) - 3;
  for (int i = 0; i < hidden * width; ++i) w1[i] = (float)(i % 5) - 2;
  for (int o = 0; o < width; ++o) {
    b2[o] = (float)o;
    for (int i = 0; i < each; ++i) w2[o * each + i] = (float)((o + rank * each + i) % 3) - 1;
  }
  const float *mine = w1 + rank * each * width;
  OK(shoal_column_linear(comm, rows, width, each, x, mine, NULL, h, SHOAL_PRECISION_F32));
  OK(shoal_row_linear(comm, rows, each, width, h, w2, b2, y, SHOAL_PRECISION_F32));
  for (int r = 0; r < rows; ++r) {
    for (int o = 0; o < width; ++o) {
      float wanted = b2[o];
      for (int k = 0; k < hidden; ++k) {
        float unit = 0;
        for (int i = 0; i < width; ++i) unit += x[r * width + i] * w1[k * width + i];
        wanted += unit * (float)((o + k) % 3 - 1);
      }
      EXPECT(fabsf(y[r * width + o] - wanted) <= 1e-3f);
    }
  }
  /* With dy = 1: db2 = rows, and dx the same on all ranks. */
  for (int i = 0; i < rows * width; ++i) y[i] = 1;
  OK(shoal_row_linear_backward(comm, rows, each, width, h, w2, y, dh, dw2, db2, SHOAL_PRECISION_F32));
  OK(shoal_column_linear_backward(comm, rows, width, each, x, mine, dh, dx, dw1, db1, SHOAL_PRECISION_F32));
  for (int o = 0; o < width; ++o) EXPECT(db2[o] == rows);
  for (int i = 0; i < width; ++i) {
    float wanted = 0;
    for (int k = 0; k < hidden; ++k) {
      for (int o = 0; o < width; ++o) wanted += (float)((o + k) % 3 - 1) * w1[k * width + i];
    }
    EXPECT(fabsf(dx[i] - wanted) <= 1e-3f);
  }
  free(w1);
}

static void test_errors(shoal_comm *comm) {
  float x = 1;
  shoal_mesh *mesh = NULL;
  shoal_buffer *buffer = NULL;
  EXPECT(shoal_all_reduce(comm, &x, &x, -1, SHOAL_F32, SHOAL_SUM) == SHOAL_ERROR);
  EXPECT(strstr(shoal_last_error(), "-1") != NULL);
  EXPECT(shoal_all_reduce(comm, &x, &x, 1, 99, SHOAL_SUM) == SHOAL_USAGE);
  EXPECT(shoal_all_reduce(comm, &x, &x, 1, SHOAL_F32, -1) == SHOAL_USAGE);
  EXPECT(shoal_all_reduce(NULL, &x, &x, 1, SHOAL_F32, SHOAL_SUM) == SHOAL_USAGE);
  EXPECT(shoal_all_gather(comm, &x, &x, NULL, SHOAL_F32) == SHOAL_USAGE);
  EXPECT(shoal_mesh_create(comm, "tp=0", &mesh) == SHOAL_USAGE && mesh == NULL);
  EXPECT(shoal_mesh_create(comm, "dp=999", &mesh) == SHOAL_USAGE && mesh == NULL);
  EXPECT(shoal_buffer_create(16, 7, &buffer) == SHOAL_USAGE && buffer == NULL);
  EXPECT(shoal_buffer_create((size_t)1 << 60, SHOAL_LOCAL, &buffer) != SHOAL_OK && buffer == NULL);
  EXPECT(shoal_wait(NULL) == SHOAL_USAGE);
  EXPECT(shoal_init() == SHOAL_ERROR); /* a second time */
  shoal_comm_free(NULL), shoal_mesh_free(NULL), shoal_buffer_free(NULL), shoal_work_free(NULL);
}

int main(void) {
  shoal_comm *world = NULL;
  EXPECT(shoal_abi() == SHOAL_ABI && shoal_version()[0] != '\0');
  EXPECT(shoal_world(&world) == SHOAL_USAGE && strstr(shoal_last_error(), "shoal_init") != NULL);
  OK(shoal_init());
  OK(shoal_world(&world));
  rank = shoal_rank(world), size = shoal_size(world);
  EXPECT(shoal_node_count(world) == 1);
  test_collectives(world, 1);
  test_collectives(world, 0);
  test_messages(world);
  test_groups(world);
  test_linear(world);
  test_errors(world);
  shoal_buffer *buffer = NULL;
  OK(shoal_buffer_create(1000 * sizeof(double), SHOAL_NODE_SHARED, &buffer));
  double *shared = shoal_buffer_data(buffer);
  EXPECT(shoal_buffer_bytes(buffer) == 1000 * sizeof(double) && shared[999] == 0);
  for (int i = 0; i < 1000; ++i) shared[i] = rank + i;
  OK(shoal_all_reduce(world, shared, shared, 1000, SHOAL_F64, SHOAL_SUM));
  for (int i = 0; i < 1000; ++i) EXPECT(shared[i] == sum_of_ranks() + size * i);
  shoal_buffer_free(buffer);
  OK(shoal_finalize());
  OK(shoal_finalize());
  EXPECT(shoal_all_reduce(world, shared, shared, 1, SHOAL_F64, SHOAL_SUM) == SHOAL_USAGE);
  return 0;
}
