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

bool many_threads_may_call_mpi() {
  int level = MPI_THREAD_SINGLE;
  MPI_Query_thread(&level);
  return level >= MPI_THREAD_MULTIPLE;
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

// Whether that one is.
bool Messages::complete(Pending& pending) {
  const auto length_differs = [&] {
    return Error(std::string(operation_) + " over " + comm_.name(),
                 name_of_rank(comm_, pending.peer) + " sent a message of another length than the " +
                     std::to_string(pending.expected) + " bytes expected",
                 "pass the same counts on all ranks");
  };
  MPI_Status status;
  int done = 0;
  const int code = MPI_Test(&pending.request, &done, &status);
  if (code != MPI_SUCCESS) {
    int error_class = 0;
    MPI_Error_class(code, &error_class);
    pending.request = MPI_REQUEST_NULL;
    if (error_class == MPI_ERR_TRUNCATE) throw length_differs();
    check_mpi(code, operation_);
  }
  if (!done) return false;
  if (pending.expected >= 0) {
    int count = 0;
    MPI_Get_count(&status, MPI_BYTE, &count);
    if (count != pending.expected) throw length_differs();
  }
  return true;
}

bool Messages::test() {
  while (!pending_.empty() && complete(pending_.back())) pending_.pop_back();
  return pending_.empty();
}

void Messages::wait() {
  while (!pending_.empty()) {
    Pending& next = pending_.back();
    const Rank peer = next.peer;
    Waiter waiter;
    while (!complete(next)) {
      waiter.pause([&] {
        return Waiter::Late{std::string(operation_) + " over " + comm_.name(),
                            name_of_rank(comm_, peer)};
      });
    }
    pending_.pop_back();
  }
}

Messages::~Messages() { cancel(); }

void Messages::cancel() noexcept {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized) return;
  for (Pending& pending : pending_) {
    if (pending.request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&pending.request);
    MPI_Request_free(&pending.request);
  }
  pending_.clear();
}

}  // namespace shoal
