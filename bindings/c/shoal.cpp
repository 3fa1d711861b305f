#include "shoal.h"

#include <mpi.h>

#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <shoal/collectives/collectives.hpp>
#include <shoal/kernels/parallel/linear.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/runtime.hpp>

#include "handles.hpp"

struct shoal_comm {
  const shoal::Communicator* comm = nullptr;
  std::optional<shoal::Communicator> own;  // unless it is someone else's
};

struct shoal_mesh {
  shoal::Mesh mesh;
  std::map<std::string, shoal_comm> axes;  // those that were asked for
};

struct shoal_buffer {
  shoal::Storage storage;
};

struct shoal_work {
  shoal::Work work;
};

namespace {

// None of these is destroyed at the end of the program: a rank that ends without shoal_finalize()
// must not take leave in order, but let those know who wait for it.
auto& runtime = *new std::unique_ptr<shoal::Runtime>;
auto& world = *new shoal_comm;
auto& comms = *new Handles("communicator");
auto& meshes = *new Handles("mesh");
auto& buffers = *new Handles("buffer");
auto& works = *new Handles("work");
thread_local std::string last_error;

int failed(int code, const char* text) noexcept {
  try {
    last_error = text;
  } catch (...) {
    last_error.clear();
  }
  return code;
}

// No exception leaves the library.
template <class Body>
int guarded(Body&& body) noexcept {
  try {
    body();
    return SHOAL_OK;
  } catch (const shoal::UsageError& error) {
    return failed(SHOAL_USAGE, error.what());
  } catch (const shoal::PeerError& error) {
    return failed(SHOAL_PEER, error.what());
  } catch (const std::bad_alloc&) {
    return failed(SHOAL_NO_MEMORY, "memory is exhausted");
  } catch (const std::exception& error) {
    return failed(SHOAL_ERROR, error.what());
  } catch (...) {
    return failed(SHOAL_ERROR, "an unknown exception");
  }
}

void require(bool good, const char* operation, const char* problem) {
  if (!good) throw shoal::UsageError(operation, problem);
}

const shoal::Communicator& comm_of(const shoal_comm* comm) {
  require(runtime != nullptr, "shoal", "shoal_init() has not been called, or shoal_finalize() has");
  if (comm != &world) comms.require(comm);
  return *comm->comm;
}

shoal::DType type_of(int type) {
  constexpr shoal::DType types[] = {shoal::DType::f32, shoal::DType::f64, shoal::DType::bf16,
                                    shoal::DType::f16, shoal::DType::i8,  shoal::DType::i32,
                                    shoal::DType::i64};
  require(type >= 0 && type < static_cast<int>(std::size(types)), "shoal", "there is no such element type");
  return types[type];
}

shoal::ReduceOp op_of(int op) {
  constexpr shoal::ReduceOp ops[] = {shoal::ReduceOp::sum, shoal::ReduceOp::min, shoal::ReduceOp::max,
                                     shoal::ReduceOp::prod, shoal::ReduceOp::avg};
  require(op >= 0 && op < static_cast<int>(std::size(ops)), "shoal", "there is no such operation");
  return ops[op];
}

std::span<const shoal::Index> counts_of(const shoal::Communicator& comm, const std::int64_t* counts) {
  require(counts != nullptr, "shoal", "the counts are NULL");
  return {counts, static_cast<std::size_t>(comm.size())};
}

shoal::kernels::Precision precision_of(int precision) {
  require(precision == SHOAL_PRECISION_F32 || precision == SHOAL_PRECISION_BF16, "shoal",
          "there is no such precision");
  return precision == SHOAL_PRECISION_F32 ? shoal::kernels::Precision::fp32
                                          : shoal::kernels::Precision::bf16;
}

void require_matrices(std::int64_t rows, std::int64_t a, std::int64_t b) {
  require(rows >= 0 && a >= 0 && b >= 0, "linear", "a size is negative");
}

template <class T>
void give(T** to, std::unique_ptr<T> made, Handles& handles) {
  handles.add(made.get());
  *to = made.release();
}

// What can be asked without a way to fail: null unless it is alive.
const shoal::Communicator* alive(const shoal_comm* comm) noexcept {
  const bool is = comm != nullptr && (comm == &world || comms.has(comm));
  return is && runtime != nullptr ? comm->comm : nullptr;
}

void require_out(const void* out) { require(out != nullptr, "shoal", "there is nowhere to put the result"); }

std::string name_or(const char* name, const char* otherwise) { return name != nullptr ? name : otherwise; }

void own(shoal_comm** out, shoal::Communicator made) {
  auto comm = std::make_unique<shoal_comm>();
  comm->own.emplace(std::move(made));
  comm->comm = &*comm->own;
  give(out, std::move(comm), comms);
}

void start(shoal_work** out, shoal::Work work) {
  give(out, std::unique_ptr<shoal_work>(new shoal_work{std::move(work)}), works);
}

}  // namespace

extern "C" {

const char* shoal_version(void) { return SHOAL_VERSION_TEXT; }
int shoal_abi(void) { return SHOAL_ABI; }
const char* shoal_last_error(void) { return last_error.c_str(); }

int shoal_init(void) {
  return guarded([] {
    shoal::Runtime::Options options;
    options.abort_on_unwind = false;
    runtime = std::make_unique<shoal::Runtime>(options);
    world.comm = &runtime->world();
  });
}

int shoal_finalize(void) {
  return guarded([] {
    world.comm = nullptr;
    runtime.reset();
  });
}

void shoal_abort(int status) { shoal::Runtime::abort(status); }

int shoal_world(shoal_comm** comm) {
  return guarded([&] {
    require_out(comm);
    comm_of(&world);
    *comm = &world;
  });
}

int shoal_rank(const shoal_comm* comm) {
  const shoal::Communicator* ranks = alive(comm);
  return ranks != nullptr ? ranks->rank() : -1;
}

int shoal_size(const shoal_comm* comm) {
  const shoal::Communicator* ranks = alive(comm);
  return ranks != nullptr ? ranks->size() : -1;
}

const char* shoal_name(const shoal_comm* comm) {
  const shoal::Communicator* ranks = alive(comm);
  return ranks != nullptr ? ranks->name().c_str() : "";
}
int shoal_node_count(const shoal_comm* comm) {
  const shoal::Communicator* ranks = alive(comm);
  return ranks != nullptr ? ranks->node_count() : -1;
}

int shoal_split(const shoal_comm* comm, int colour, int key, const char* name, shoal_comm** part) {
  return guarded([&] {
    require_out(part);
    require(colour >= 0, "split", "a colour is 0 or more");
    own(part, comm_of(comm).split(colour, key, name_or(name, "part")));
  });
}

int shoal_adopt(int mpi_fortran_handle, const char* name, shoal_comm** comm) {
  return guarded([&] {
    require_out(comm);
    own(comm, shoal::adopt_communicator(MPI_Comm_f2c(mpi_fortran_handle), name_or(name, "adopted")));
  });
}

void shoal_comm_free(shoal_comm* comm) {
  // An axis is its mesh's.
  if (comm != &world && comms.has(comm) && comm->own && comms.remove(comm)) delete comm;
}

int shoal_mesh_create(const shoal_comm* comm, const char* shape, shoal_mesh** mesh) {
  return guarded([&] {
    require_out(mesh);
    require(shape != nullptr, "mesh", "the shape is NULL");
    auto made = std::unique_ptr<shoal_mesh>(
        new shoal_mesh{shoal::Mesh(comm_of(comm), shoal::MeshShape::parse(shape)), {}});
    give(mesh, std::move(made), meshes);
  });
}

int shoal_mesh_axis(shoal_mesh* mesh, const char* axis, shoal_comm** comm) {
  return guarded([&] {
    require_out(comm);
    require(axis != nullptr, "mesh", "the axis is NULL");
    comm_of(&world);
    meshes.require(mesh);
    shoal_comm& entry = mesh->axes[axis];
    entry.comm = &mesh->mesh.axis(axis);
    comms.add(&entry);
    *comm = &entry;
  });
}

void shoal_mesh_free(shoal_mesh* mesh) {
  if (!meshes.remove(mesh)) return;
  for (const auto& [name, axis] : mesh->axes) comms.remove(&axis);
  delete mesh;
}

int shoal_buffer_create(size_t bytes, int where, shoal_buffer** buffer) {
  return guarded([&] {
    require_out(buffer);
    require(where == SHOAL_LOCAL || where == SHOAL_NODE_SHARED, "buffer", "there is no such place");
    const auto memory = where == SHOAL_LOCAL ? shoal::Memory::local : shoal::Memory::node_shared;
    give(buffer, std::unique_ptr<shoal_buffer>(new shoal_buffer{shoal::Storage(bytes, memory)}),
         buffers);
  });
}

void* shoal_buffer_data(const shoal_buffer* buffer) {
  return buffers.has(buffer) ? buffer->storage.data() : nullptr;
}

size_t shoal_buffer_bytes(const shoal_buffer* buffer) {
  return buffers.has(buffer) ? buffer->storage.bytes() : 0;
}

void shoal_buffer_free(shoal_buffer* buffer) {
  if (buffers.remove(buffer)) delete buffer;
}

int shoal_all_reduce(const shoal_comm* comm, const void* in, void* out, int64_t count, int type, int op) {
  return guarded([&] { shoal::all_reduce(comm_of(comm), in, out, count, type_of(type), op_of(op)); });
}

int shoal_reduce_scatter(const shoal_comm* comm, const void* in, void* out, const int64_t* counts,
                         int type, int op) {
  return guarded([&] {
    const shoal::Communicator& ranks = comm_of(comm);
    shoal::reduce_scatter(ranks, in, out, counts_of(ranks, counts), type_of(type), op_of(op));
  });
}

int shoal_all_gather(const shoal_comm* comm, const void* in, void* out, const int64_t* counts, int type) {
  return guarded([&] {
    const shoal::Communicator& ranks = comm_of(comm);
    shoal::all_gather(ranks, in, out, counts_of(ranks, counts), type_of(type));
  });
}

int shoal_broadcast(const shoal_comm* comm, void* data, int64_t count, int type, int root) {
  return guarded([&] { shoal::broadcast(comm_of(comm), data, count, type_of(type), root); });
}

int shoal_all_to_all(const shoal_comm* comm, const void* in, const int64_t* send_counts, void* out,
                     const int64_t* receive_counts, int type) {
  return guarded([&] {
    const shoal::Communicator& ranks = comm_of(comm);
    shoal::all_to_all(ranks, in, counts_of(ranks, send_counts), out, counts_of(ranks, receive_counts),
                      type_of(type));
  });
}

int shoal_barrier(const shoal_comm* comm) {
  return guarded([&] { shoal::barrier(comm_of(comm)); });
}

int shoal_send(const shoal_comm* comm, const void* data, int64_t count, int type, int to, int tag) {
  return guarded([&] { shoal::send(comm_of(comm), data, count, type_of(type), to, tag); });
}

int shoal_receive(const shoal_comm* comm, void* data, int64_t count, int type, int from, int tag) {
  return guarded([&] { shoal::receive(comm_of(comm), data, count, type_of(type), from, tag); });
}

int shoal_send_receive(const shoal_comm* comm, const void* out, int64_t out_count, int to, void* in,
                       int64_t in_count, int from, int type, int tag) {
  return guarded([&] {
    shoal::send_receive(comm_of(comm), out, out_count, to, in, in_count, from, type_of(type), tag);
  });
}

int shoal_start_all_reduce(const shoal_comm* comm, const void* in, void* out, int64_t count, int type,
                           int op, shoal_work** work) {
  return guarded([&] {
    require_out(work);
    start(work, shoal::start_all_reduce(comm_of(comm), in, out, count, type_of(type), op_of(op)));
  });
}

int shoal_start_reduce_scatter(const shoal_comm* comm, const void* in, void* out, const int64_t* counts,
                               int type, int op, shoal_work** work) {
  return guarded([&] {
    require_out(work);
    const shoal::Communicator& ranks = comm_of(comm);
    start(work, shoal::start_reduce_scatter(ranks, in, out, counts_of(ranks, counts), type_of(type),
                                            op_of(op)));
  });
}

int shoal_start_all_gather(const shoal_comm* comm, const void* in, void* out, const int64_t* counts,
                           int type, shoal_work** work) {
  return guarded([&] {
    require_out(work);
    const shoal::Communicator& ranks = comm_of(comm);
    start(work, shoal::start_all_gather(ranks, in, out, counts_of(ranks, counts), type_of(type)));
  });
}

int shoal_start_broadcast(const shoal_comm* comm, void* data, int64_t count, int type, int root,
                          shoal_work** work) {
  return guarded([&] {
    require_out(work);
    start(work, shoal::start_broadcast(comm_of(comm), data, count, type_of(type), root));
  });
}

int shoal_start_all_to_all(const shoal_comm* comm, const void* in, const int64_t* send_counts, void* out,
                           const int64_t* receive_counts, int type, shoal_work** work) {
  return guarded([&] {
    require_out(work);
    const shoal::Communicator& ranks = comm_of(comm);
    start(work, shoal::start_all_to_all(ranks, in, counts_of(ranks, send_counts), out,
                                        counts_of(ranks, receive_counts), type_of(type)));
  });
}

int shoal_start_barrier(const shoal_comm* comm, shoal_work** work) {
  return guarded([&] {
    require_out(work);
    start(work, shoal::start_barrier(comm_of(comm)));
  });
}

int shoal_wait(shoal_work* work) {
  return guarded([&] {
    works.require(work);
    work->work.wait();
  });
}

int shoal_test(shoal_work* work, int* done) {
  return guarded([&] {
    works.require(work);
    require(done != nullptr, "test", "the place of the answer is NULL");
    *done = work->work.test() ? 1 : 0;
  });
}

void shoal_work_free(shoal_work* work) {
  if (works.remove(work)) delete work;
}

int shoal_column_linear(const shoal_comm* comm, int64_t rows, int64_t in, int64_t local_out,
                        const float* x, const float* weight, const float* bias, float* y, int precision) {
  return guarded([&] {
    require_matrices(rows, in, local_out);
    shoal::kernels::ColumnParallelLinear(comm_of(comm), in, local_out, precision_of(precision))
        .forward(rows, x, weight, bias, y);
  });
}

int shoal_column_linear_backward(const shoal_comm* comm, int64_t rows, int64_t in, int64_t local_out,
                                 const float* x, const float* weight, const float* dy, float* dx,
                                 float* dweight, float* dbias, int precision) {
  return guarded([&] {
    require_matrices(rows, in, local_out);
    shoal::kernels::ColumnParallelLinear(comm_of(comm), in, local_out, precision_of(precision))
        .backward(rows, x, weight, dy, dx, dweight, dbias, shoal::kernels::Gradients::overwrite);
  });
}

int shoal_row_linear(const shoal_comm* comm, int64_t rows, int64_t local_in, int64_t out, const float* x,
                     const float* weight, const float* bias, float* y, int precision) {
  return guarded([&] {
    require_matrices(rows, local_in, out);
    shoal::kernels::RowParallelLinear(comm_of(comm), local_in, out, precision_of(precision))
        .forward(rows, x, weight, bias, y);
  });
}

int shoal_row_linear_backward(const shoal_comm* comm, int64_t rows, int64_t local_in, int64_t out,
                              const float* x, const float* weight, const float* dy, float* dx,
                              float* dweight, float* dbias, int precision) {
  return guarded([&] {
    require_matrices(rows, local_in, out);
    shoal::kernels::RowParallelLinear(comm_of(comm), local_in, out, precision_of(precision))
        .backward(rows, x, weight, dy, dx, dweight, dbias, shoal::kernels::Gradients::overwrite);
  });
}

}  // extern "C"
