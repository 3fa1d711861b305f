// Messages between two ranks.
#pragma once

#include <shoal/collectives/work.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// Largest tag a message may carry; tags start at 0.
inline constexpr int most_tag = 16383;

/// Sends `count` elements to rank `to`. Blocking: returns when `data` may be changed, which may be
/// when the receiver takes the message. Messages from one rank to another with the same tag arrive
/// in the order they were sent.
void send(const Communicator& comm, const void* data, Index count, DType type, Rank to,
          int tag = 0);

/// Receives `count` elements from rank `from`. Blocking. Throws Error if the message has another
/// length.
void receive(const Communicator& comm, void* data, Index count, DType type, Rank from,
             int tag = 0);

/// Both at once: cannot deadlock, in whatever order ranks pair up.
void send_receive(const Communicator& comm, const void* out_data, Index out_count, Rank to,
                  void* in_data, Index in_count, Rank from, DType type, int tag = 0);

/// The same while the program computes. The message is on its way from the call on: whatever the
/// order in which two ranks start their messages to each other and wait for them, neither blocks
/// the other. Not collective. `data` belongs to the message, and `comm` must stay, until the Work
/// is done; a receive that fails, or a message of another length, throws when it is waited for.
/// Where MPI lets only one thread call it, messages move when one is waited for.
Work start_send(const Communicator& comm, const void* data, Index count, DType type, Rank to,
                int tag = 0);
Work start_receive(const Communicator& comm, void* data, Index count, DType type, Rank from,
                   int tag = 0);

}  // namespace shoal
