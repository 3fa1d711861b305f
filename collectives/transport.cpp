#include "transport.hpp"

#include <algorithm>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/wait.hpp>

namespace shoal {
namespace {

// MPI 3 counts are ints; longer messages go in pieces of this size.
constexpr Bytes most_bytes = Bytes{1} << 30;

}  // namespace

std::string name_of_rank(const Communicator& comm, Rank rank) {
  return "rank " + std::to_string(rank) + " on " + comm.host_of(rank);
}

void wait_for(MPI_Request& request, const std::string& operation, const std::string& whom) {
  Waiter waiter;
  for (;;) {
    int done = 0;
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), operation.c_str());
    if (done) return;
    waiter.pause([&] { return Waiter::Late{operation, whom}; });
  }
}

void Messages::send(const void* data, Bytes bytes, Rank to, int tag) {
  const auto* from = static_cast<const std::byte*>(data);
  Bytes at = 0;
  do {
    const auto count = static_cast<int>(std::min(most_bytes, bytes - at));
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Isend(from + at, count, MPI_BYTE, to, tag, mpi_handle(comm_), &request),
              operation_);
    pending_.push_back({request, to, -1});
    at += static_cast<Bytes>(count);
  } while (at < bytes);
}

void Messages::receive(void* data, Bytes bytes, Rank from, int tag) {
  auto* to = static_cast<std::byte*>(data);
  Bytes at = 0;
  do {
    const auto count = static_cast<int>(std::min(most_bytes, bytes - at));
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Irecv(to + at, count, MPI_BYTE, from, tag, mpi_handle(comm_), &request),
              operation_);
    pending_.push_back({request, from, count});
    at += static_cast<Bytes>(count);
  } while (at < bytes);
}

void Messages::wait() {
  const std::string operation = operation_;
  while (!pending_.empty()) {
    Pending& next = pending_.back();
    const Rank peer = next.peer;
    const auto length_differs = [&] {
      return Error(operation + " over " + comm_.name(),
                   name_of_rank(comm_, peer) + " sent a message of another length than the " +
                       std::to_string(next.expected) + " bytes expected",
                   "pass the same counts on all ranks");
    };
    Waiter waiter;
    MPI_Status status;
    for (int done = 0; !done;) {
      const int code = MPI_Test(&next.request, &done, &status);
      if (code != MPI_SUCCESS) {
        int error_class = 0;
        MPI_Error_class(code, &error_class);
        const Error error = length_differs();
        next.request = MPI_REQUEST_NULL;
        if (error_class == MPI_ERR_TRUNCATE) throw error;
        check_mpi(code, operation_);
      }
      if (!done) {
        waiter.pause([&] {
          return Waiter::Late{operation + " over " + comm_.name(), name_of_rank(comm_, peer)};
        });
      }
    }
    if (next.expected >= 0) {
      int count = 0;
      MPI_Get_count(&status, MPI_BYTE, &count);
      if (count != next.expected) throw length_differs();
    }
    pending_.pop_back();
  }
}

Messages::~Messages() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized) return;
  for (Pending& pending : pending_) {
    if (pending.request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&pending.request);
    MPI_Request_free(&pending.request);
  }
}

}  // namespace shoal
