// Messages between ranks: MPI's non-blocking ones, in chunks, with a deadline.
#pragma once

#include <mpi.h>

#include <memory>
#include <string>
#include <vector>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// Tags from here on belong to the collectives; below are the user's.
inline constexpr int collective_tag = 16384;

/// Throws Error naming `operation` and `whom` at the deadline.
void wait_for(MPI_Request& request, const std::string& operation, const std::string& whom);

/// "rank 3 on node7".
std::string name_of_rank(const Communicator& comm, Rank rank);

/// Waits, up to the deadline, for a non-blocking collective of MPI that works on `*memory`. Such a
/// request cannot be cancelled: where it fails the memory is left to it.
template <class T>
void complete(MPI_Request& request, std::unique_ptr<T>& memory, const std::string& operation,
              const std::string& whom) {
  try {
    wait_for(request, operation, whom);
  } catch (...) {
    static_cast<void>(memory.release());
    throw;
  }
}

/// Whether a thread of ours may call MPI beside the others (MPI_THREAD_MULTIPLE).
bool many_threads_may_call_mpi();

/// Messages under way. Each is posted at once; wait() completes all. What is still under way when an
/// exception unwinds is cancelled, so that MPI does not write into memory that is gone.
class Messages {
 public:
  Messages(const Communicator& comm, const char* operation) : comm_(comm), operation_(operation) {}
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;
  ~Messages();

  void send(const void* data, Bytes bytes, Rank to, int tag = collective_tag);
  void receive(void* data, Bytes bytes, Rank from, int tag = collective_tag);
  /// True once all are complete; does not wait. Throws Error as wait() does, but for the deadline.
  bool test();
  /// Throws Error at the deadline, or if a message has another length than expected.
  void wait();
  /// Ends those under way, as the destructor does.
  void cancel() noexcept;

 private:
  struct Pending {
    MPI_Request request;
    Rank peer;
    int expected;  // bytes to receive; -1: a send
  };
  bool complete(Pending& pending);
  const Communicator& comm_;
  const char* operation_;
  std::vector<Pending> pending_;
};

}  // namespace shoal
