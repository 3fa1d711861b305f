/* Shoal for C, and for all that can call C.
 *
 *     shoal_init();
 *     shoal_comm *world;
 *     shoal_world(&world);
 *     if (shoal_all_reduce(world, x, x, n, SHOAL_F32, SHOAL_SUM) != SHOAL_OK) puts(shoal_last_error());
 *     shoal_finalize();
 *
 * Every function that can fail returns SHOAL_OK or the reason; then shoal_last_error() is one line that says
 * what went wrong and what to do. What a function makes it writes to its last argument, which stays as it is
 * on failure. Handles are opaque; each is freed by the function that says so, which ignores NULL and what is
 * no handle, or none any more; every other function refuses these. No function throws, exits or calls back,
 * and in a child that fork() made what would communicate is refused. Names and meanings are those of the C++
 * headers, where more is said of each.
 *
 * The ABI is stable: no structure's layout is public, constants keep their values, functions are added but
 * not changed while SHOAL_ABI stays the same. Link with -lshoal_c.
 */
#ifndef SHOAL_H
#define SHOAL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SHOAL_API __attribute__((visibility("default")))
#else
#define SHOAL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header; shoal_abi() is the library's. */
#define SHOAL_ABI 1

/* What functions return. */
enum {
  SHOAL_OK = 0,
  SHOAL_ERROR = 1,       /* what shoal_last_error() says */
  SHOAL_USAGE = 2,       /* an argument makes no sense */
  SHOAL_PEER = 3,        /* another rank did not answer: call nothing collective any more */
  SHOAL_NO_MEMORY = 4
};

/* Element types. */
enum {
  SHOAL_F32 = 0,
  SHOAL_F64 = 1,
  SHOAL_BF16 = 2,
  SHOAL_F16 = 3,
  SHOAL_I8 = 4,
  SHOAL_I32 = 5,
  SHOAL_I64 = 6
};

/* How elements are combined. */
enum { SHOAL_SUM = 0, SHOAL_MIN = 1, SHOAL_MAX = 2, SHOAL_PROD = 3, SHOAL_AVG = 4 };

/* Where a buffer lives: in the process, or where all ranks of the node see it, so that collectives on it
 * need no copy. */
enum { SHOAL_LOCAL = 0, SHOAL_NODE_SHARED = 1 };

/* Precision of products: single, or inputs rounded to bfloat16 and sums in single. */
enum { SHOAL_PRECISION_F32 = 0, SHOAL_PRECISION_BF16 = 1 };

typedef struct shoal_comm shoal_comm;     /* ranks that talk to each other */
typedef struct shoal_mesh shoal_mesh;     /* ranks in named axes */
typedef struct shoal_buffer shoal_buffer; /* memory */
typedef struct shoal_work shoal_work;     /* a collective under way */

/* The library's version, "0.1.0", and ABI. */
SHOAL_API const char *shoal_version(void);
SHOAL_API int shoal_abi(void);
/* The last failure of a function called by this thread; "" if there was none. Valid until the next. */
SHOAL_API const char *shoal_last_error(void);

/* Joins the run: starts MPI, unless the program has. Collective over all ranks. Once a process. */
SHOAL_API int shoal_init(void);
/* Leaves it. Collective; frees no other handle, so free them before. Without shoal_init(), and in a child that fork()
 * made, it does nothing. A rank that ends without it fails the run: those that wait for it learn so. */
SHOAL_API int shoal_finalize(void);
/* Ends the run at once, on all ranks. */
SHOAL_API void shoal_abort(int status);

/* All ranks. The handle is the library's: not to be freed. */
SHOAL_API int shoal_world(shoal_comm **comm);
/* -1 for NULL. */
SHOAL_API int shoal_rank(const shoal_comm *comm);
SHOAL_API int shoal_size(const shoal_comm *comm);
SHOAL_API const char *shoal_name(const shoal_comm *comm);
/* Nodes that have a rank here. */
SHOAL_API int shoal_node_count(const shoal_comm *comm);
/* New groups, one for each colour, ordered by (key, rank). Collective. */
SHOAL_API int shoal_split(const shoal_comm *comm, int colour, int key, const char *name,
                          shoal_comm **part);
/* The ranks of an MPI communicator of your own, as the integer handle of Fortran (MPI_Comm_c2f). Collective
 * over it. */
SHOAL_API int shoal_adopt(int mpi_fortran_handle, const char *name, shoal_comm **comm);
/* Of split and adopt; others are left alone. */
SHOAL_API void shoal_comm_free(shoal_comm *comm);

/* A mesh of a shape like "dp=2,tp=4", which must multiply to the number of ranks. Collective. */
SHOAL_API int shoal_mesh_create(const shoal_comm *comm, const char *shape, shoal_mesh **mesh);
/* The ranks that differ from this one only along the axis; this rank alone if there is no such axis. The
 * handle is the mesh's: not to be freed, and gone with it. */
SHOAL_API int shoal_mesh_axis(shoal_mesh *mesh, const char *axis, shoal_comm **comm);
/* Its axes as well. */
SHOAL_API void shoal_mesh_free(shoal_mesh *mesh);

/* `bytes` of zeros, aligned to 64. */
SHOAL_API int shoal_buffer_create(size_t bytes, int where, shoal_buffer **buffer);
/* Address and size: NULL and 0 for what is no buffer. */
SHOAL_API void *shoal_buffer_data(const shoal_buffer *buffer);
SHOAL_API size_t shoal_buffer_bytes(const shoal_buffer *buffer);
/* Gives the memory back. */
SHOAL_API void shoal_buffer_free(shoal_buffer *buffer);

/* Collectives: every rank of `comm` calls them in the same order with matching arguments. Counts are of
 * elements; arrays of counts have one a rank. in == out is in place where it says so in the C++ header. */
SHOAL_API int shoal_all_reduce(const shoal_comm *comm, const void *in, void *out, int64_t count, int type,
                               int op);
SHOAL_API int shoal_reduce_scatter(const shoal_comm *comm, const void *in, void *out,
                                   const int64_t *counts, int type, int op);
SHOAL_API int shoal_all_gather(const shoal_comm *comm, const void *in, void *out, const int64_t *counts,
                               int type);
SHOAL_API int shoal_broadcast(const shoal_comm *comm, void *data, int64_t count, int type, int root);
SHOAL_API int shoal_all_to_all(const shoal_comm *comm, const void *in, const int64_t *send_counts,
                               void *out, const int64_t *receive_counts, int type);
SHOAL_API int shoal_barrier(const shoal_comm *comm);

/* Messages: `tag` from 0 to 16383. */
SHOAL_API int shoal_send(const shoal_comm *comm, const void *data, int64_t count, int type, int to,
                         int tag);
SHOAL_API int shoal_receive(const shoal_comm *comm, void *data, int64_t count, int type, int from,
                            int tag);
/* Both at once, in whatever order ranks pair up. */
SHOAL_API int shoal_send_receive(const shoal_comm *comm, const void *out, int64_t out_count, int to,
                                 void *in, int64_t in_count, int from, int type, int tag);

/* The same collectives while the program goes on; counts are copied, data is the collective's until it is
 * done. Every work is to be freed. */
SHOAL_API int shoal_start_all_reduce(const shoal_comm *comm, const void *in, void *out, int64_t count,
                                     int type, int op, shoal_work **work);
SHOAL_API int shoal_start_reduce_scatter(const shoal_comm *comm, const void *in, void *out,
                                         const int64_t *counts, int type, int op, shoal_work **work);
SHOAL_API int shoal_start_all_gather(const shoal_comm *comm, const void *in, void *out,
                                     const int64_t *counts, int type, shoal_work **work);
SHOAL_API int shoal_start_broadcast(const shoal_comm *comm, void *data, int64_t count, int type, int root,
                                    shoal_work **work);
SHOAL_API int shoal_start_all_to_all(const shoal_comm *comm, const void *in, const int64_t *send_counts,
                                     void *out, const int64_t *receive_counts, int type,
                                     shoal_work **work);
SHOAL_API int shoal_start_barrier(const shoal_comm *comm, shoal_work **work);
/* Returns when it is done, with the failure if it failed. */
SHOAL_API int shoal_wait(shoal_work *work);
/* *done = 1 once it is done, else 0. */
SHOAL_API int shoal_test(shoal_work *work, int *done);
/* Waits, if need be. */
SHOAL_API void shoal_work_free(shoal_work *work);

/* Products with a matrix that is divided over the ranks of `comm`, y = x W^T + bias; all row-major, single
 * precision, `bias` and `dbias` NULL for none. A column-parallel one followed by a row-parallel one needs one
 * all-reduce a pass.
 *
 * Column-parallel: this rank has `local_out` rows of W, x[rows, in] is whole, y[rows, local_out]. Backward:
 * dx[rows, in] is summed over the ranks (NULL: not wanted), dweight[local_out, in] and dbias[local_out] are
 * overwritten. */
SHOAL_API int shoal_column_linear(const shoal_comm *comm, int64_t rows, int64_t in, int64_t local_out,
                                  const float *x, const float *weight, const float *bias, float *y,
                                  int precision);
SHOAL_API int shoal_column_linear_backward(const shoal_comm *comm, int64_t rows, int64_t in,
                                           int64_t local_out, const float *x, const float *weight,
                                           const float *dy, float *dx, float *dweight, float *dbias,
                                           int precision);
/* Row-parallel: this rank has `local_in` columns of W and x[rows, local_in]; y[rows, out] is summed over the
 * ranks. */
SHOAL_API int shoal_row_linear(const shoal_comm *comm, int64_t rows, int64_t local_in, int64_t out,
                               const float *x, const float *weight, const float *bias, float *y,
                               int precision);
SHOAL_API int shoal_row_linear_backward(const shoal_comm *comm, int64_t rows, int64_t local_in,
                                        int64_t out, const float *x, const float *weight, const float *dy,
                                        float *dx, float *dweight, float *dbias, int precision);

#ifdef __cplusplus
}
#endif

#endif
