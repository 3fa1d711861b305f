// A step of a collective in which every rank sends one message and receives one.
#pragma once

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

struct Swap {
  const void* data = nullptr;
  Bytes bytes = 0;
  Rank to = 0;
  void* into = nullptr;
  Bytes expected = 0;
  Rank from = 0;
};

/// Sends and receives, and returns once both are done. Either may be empty: then there is no such
/// message, and the other side must know. The memory of the two must not overlap. Takes the
/// communicator's own connections where it has some. Throws Error at the deadline, and if a message
/// has another length than expected.
void swap_messages(const Communicator& comm, const char* operation, const Swap& step);

}  // namespace shoal
