// Messages between ranks: MPI's non-blocking ones, in chunks, with a deadline.
#pragma once

#include <mpi.h>

#include <string>
#include <vector>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// Tags from here on belong to the collectives; below are the user's.
inline constexpr int collective_tag = 16384;

/// "rank 3 on node7".
std::string name_of_rank(const Communicator& comm, Rank rank);

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
  /// Throws Error at the deadline, or if a message has another length than expected.
  void wait();

 private:
  struct Pending {
    MPI_Request request;
    Rank peer;
    int expected;  // bytes to receive; -1: a send
  };
  const Communicator& comm_;
  const char* operation_;
  std::vector<Pending> pending_;
};

}  // namespace shoal
