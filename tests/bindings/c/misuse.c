/* misuse.c CASE: what a caller does wrong, one case a run. Prints "good" on rank 0 where the program can go on. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shoal.h>

static int rank, size;
static shoal_comm *world;
static float x[1000], y[1000];

#define EXPECT(condition)                                                                            \
  do {                                                                                               \
    if (!(condition)) {                                                                              \
      fprintf(stderr, "rank %d, line %d: not so: %s (last error: %s)\n", rank, __LINE__, #condition, \
              shoal_last_error());                                                                   \
      shoal_abort(1);                                                                                \
    }                                                                                                \
  } while (0)
#define FAILS(call, code, text) \
  EXPECT((call) == (code) && strstr(shoal_last_error(), (text)) != NULL)

/* Freed, freed twice, of another kind, pure invention: a code and a text for each. */
static void handles(void) {
  shoal_comm *part = NULL, *axis = NULL, *none = (shoal_comm *)(uintptr_t)64;
  shoal_mesh *mesh = NULL;
  shoal_buffer *buffer = NULL;
  shoal_work *work = NULL;
  char shape[32];
  int done = 7;
  EXPECT(shoal_split(world, 0, 0, "part", &part) == SHOAL_OK);
  snprintf(shape, sizeof shape, "tp=%d", size);
  EXPECT(shoal_mesh_create(world, shape, &mesh) == SHOAL_OK);
  EXPECT(shoal_mesh_axis(mesh, "tp", &axis) == SHOAL_OK);
  EXPECT(shoal_buffer_create(64, SHOAL_NODE_SHARED, &buffer) == SHOAL_OK);
  EXPECT(shoal_start_barrier(world, &work) == SHOAL_OK);
  EXPECT(shoal_wait(work) == SHOAL_OK);

  shoal_comm_free(axis); /* its mesh's */
  EXPECT(shoal_barrier(axis) == SHOAL_OK);
  shoal_comm_free(part), shoal_mesh_free(mesh), shoal_buffer_free(buffer), shoal_work_free(work);
  shoal_comm_free(part), shoal_mesh_free(mesh), shoal_buffer_free(buffer), shoal_work_free(work);
  FAILS(shoal_barrier(part), SHOAL_USAGE, "no communicator, or it was freed");
  FAILS(shoal_all_reduce(part, x, x, 10, SHOAL_F32, SHOAL_SUM), SHOAL_USAGE, "freed");
  FAILS(shoal_barrier(axis), SHOAL_USAGE, "freed");
  FAILS(shoal_barrier(none), SHOAL_USAGE, "no communicator");
  FAILS(shoal_barrier((shoal_comm *)(void *)x), SHOAL_USAGE, "no communicator");
  FAILS(shoal_mesh_axis(mesh, "tp", &axis), SHOAL_USAGE, "no mesh");
  FAILS(shoal_wait(work), SHOAL_USAGE, "no work");
  FAILS(shoal_test(work, &done), SHOAL_USAGE, "no work");
  EXPECT(done == 7);
  EXPECT(shoal_buffer_data(buffer) == NULL && shoal_buffer_bytes(buffer) == 0);
  EXPECT(shoal_rank(part) == -1 && shoal_size(none) == -1 && shoal_name(part)[0] == '\0');
  shoal_comm_free(none), shoal_mesh_free((shoal_mesh *)(void *)none);
  shoal_comm_free(world); /* the library's */
  EXPECT(shoal_barrier(world) == SHOAL_OK);
}

/* Everything after the end is refused; freeing late is none the worse. */
static void after_the_end(void) {
  shoal_comm *part = NULL;
  shoal_mesh *mesh = NULL;
  shoal_buffer *buffer = NULL;
  shoal_work *work = NULL;
  char shape[32];
  EXPECT(shoal_split(world, 0, 0, "part", &part) == SHOAL_OK);
  snprintf(shape, sizeof shape, "tp=%d", size);
  EXPECT(shoal_mesh_create(world, shape, &mesh) == SHOAL_OK);
  EXPECT(shoal_buffer_create(1 << 20, SHOAL_NODE_SHARED, &buffer) == SHOAL_OK);
  EXPECT(shoal_start_all_reduce(world, x, x, 1000, SHOAL_F32, SHOAL_SUM, &work) == SHOAL_OK);
  EXPECT(shoal_finalize() == SHOAL_OK);
  FAILS(shoal_barrier(world), SHOAL_USAGE, "shoal_init() has not been called");
  FAILS(shoal_barrier(part), SHOAL_USAGE, "shoal_init() has not been called");
  EXPECT(shoal_rank(world) == -1 && shoal_rank(part) == -1);
  ((char *)shoal_buffer_data(buffer))[99] = 1; /* stays while it is not freed */
  EXPECT(shoal_wait(work) == SHOAL_OK);        /* done before the end */
  shoal_work_free(work), shoal_buffer_free(buffer), shoal_mesh_free(mesh), shoal_comm_free(part);
  EXPECT(shoal_init() == SHOAL_ERROR && shoal_last_error()[0] != '\0'); /* MPI starts once a process */
}

static void in_a_child(void) {
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    shoal_buffer *buffer = NULL;
    shoal_work *work = NULL;
    shoal_comm *part = NULL;
    alarm(20);
    FAILS(shoal_barrier(world), SHOAL_ERROR, "forked");
    FAILS(shoal_all_reduce(world, x, x, 10, SHOAL_F32, SHOAL_SUM), SHOAL_ERROR, "forked");
    FAILS(shoal_start_all_reduce(world, x, x, 10, SHOAL_F32, SHOAL_SUM, &work), SHOAL_ERROR, "forked");
    FAILS(shoal_split(world, 0, 0, "part", &part), SHOAL_ERROR, "forked");
    FAILS(shoal_send(world, x, 1, SHOAL_F32, 0, 0), SHOAL_ERROR, "forked");
    FAILS(shoal_init(), SHOAL_ERROR, "forked");
    EXPECT(shoal_buffer_create(1 << 20, SHOAL_NODE_SHARED, &buffer) == SHOAL_OK); /* private */
    ((char *)shoal_buffer_data(buffer))[99] = 1;
    EXPECT(shoal_finalize() == SHOAL_OK); /* leaves the parent alone */
    exit(0);
  }
  int status = 0;
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
  EXPECT(shoal_barrier(world) == SHOAL_OK);
}

/* Wrong arguments: refused here, on this rank alone, and nothing is sent. */
static void arguments(void) {
  int64_t counts[64];
  for (int i = 0; i < 64; ++i) counts[i] = -1;
  FAILS(shoal_all_reduce(world, x, x, 10, 17, SHOAL_SUM), SHOAL_USAGE, "element type");
  FAILS(shoal_all_reduce(world, x, x, 10, SHOAL_F32, 17), SHOAL_USAGE, "operation");
  FAILS(shoal_all_reduce(world, NULL, x, 10, SHOAL_F32, SHOAL_SUM), SHOAL_ERROR, "null");
  FAILS(shoal_all_reduce(world, x, x + 1, 10, SHOAL_F32, SHOAL_SUM), SHOAL_ERROR, "overlap");
  FAILS(shoal_all_gather(world, x, y, counts, SHOAL_F32), SHOAL_ERROR, "-1");
  FAILS(shoal_all_reduce(world, x, x, INT64_MAX, SHOAL_F32, SHOAL_SUM), SHOAL_ERROR, "memory");
  FAILS(shoal_broadcast(world, x, 10, SHOAL_F32, size), SHOAL_ERROR, "root");
  FAILS(shoal_send(world, x, 10, SHOAL_F32, size, 0), SHOAL_ERROR, "no rank");
  FAILS(shoal_send(world, x, 10, SHOAL_F32, 0, -1), SHOAL_ERROR, "tag");
  FAILS(shoal_split(world, -1, 0, NULL, &world), SHOAL_USAGE, "colour");
  FAILS(shoal_world(NULL), SHOAL_USAGE, "nowhere");
  EXPECT(shoal_barrier(world) == SHOAL_OK);
}

/* All are told, by a code, and end as they like. */
static void sizes(void) {
  const int code = shoal_all_reduce(world, x, x, rank == 0 ? 999 : 1000, SHOAL_F32, SHOAL_SUM);
  EXPECT(code == SHOAL_ERROR || code == SHOAL_PEER);
  EXPECT(strstr(shoal_last_error(), "999") != NULL && strstr(shoal_last_error(), "1000") != NULL);
  if (rank == 0) printf("good: %s\n", shoal_last_error());
  fflush(stdout);
  shoal_abort(0);
}

/* The last rank ends without a word, the others wait for it. */
static void ends(void) {
  if (rank == size - 1) exit(3);
  const int code = shoal_all_reduce(world, x, x, 1000, SHOAL_F32, SHOAL_SUM);
  printf("told: %d %s\n", code, shoal_last_error());
  fflush(stdout);
  shoal_abort(4);
}

int main(int count, char **words) {
  const char *name = count > 1 ? words[1] : "";
  EXPECT(shoal_init() == SHOAL_OK && shoal_world(&world) == SHOAL_OK);
  rank = shoal_rank(world), size = shoal_size(world);
  if (strcmp(name, "sizes") == 0) sizes();
  if (strcmp(name, "ends") == 0) ends();
  if (strcmp(name, "handles") == 0) handles();
  if (strcmp(name, "fork") == 0) in_a_child();
  if (strcmp(name, "arguments") == 0) arguments();
  if (strcmp(name, "after_the_end") == 0) {
    after_the_end();
  } else {
    EXPECT(shoal_finalize() == SHOAL_OK);
  }
  if (rank == 0) printf("good\n");
  return 0;
}
