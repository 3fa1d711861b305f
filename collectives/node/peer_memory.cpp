#include "node/peer_memory.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <string>

#include <shoal/runtime/error.hpp>

#include "node/pieces.hpp"
#include "reduce/reduce.hpp"

namespace shoal {
namespace {

// What one process_vm_readv() is asked for: others that want the core wait no longer than that.
constexpr Bytes most_read_at_once = 1 << 20;

// 0, or why not (errno).
int read_process(std::int64_t process, std::uint64_t from, void* to, Bytes bytes) noexcept {
  for (Bytes done = 0; done < bytes;) {
    const Bytes size = std::min(bytes - done, most_read_at_once);
    const iovec here{bytes_at(to, done), size};
    const iovec there{reinterpret_cast<void*>(from + done), size};
    const ssize_t got = process_vm_readv(static_cast<pid_t>(process), &here, 1, &there, 1, 0);
    if (got < 0) return errno;
    if (got == 0) return EFAULT;
    done += static_cast<Bytes>(got);
  }
  return 0;
}

}  // namespace

bool PeerMemory::readable(NodeControl& control) {
  if (answer_ != Answer::unknown) return answer_ == Answer::yes;
  // A number of this rank's, so that a process of another container with the same number is not taken for it.
  std::random_device random;
  const std::uint64_t value = (std::uint64_t{random()} << 32) | random();
  Door& mine = control.door_of(me_);
  mine.process = getpid();
  mine.address = reinterpret_cast<std::uint64_t>(&value);
  mine.value = value;
  control.meet();
  std::vector<std::int64_t> processes;
  bool good = true;
  for (Rank rank = 0; rank < control.ranks(); ++rank) {
    const Door& theirs = control.door_of(rank);
    std::uint64_t found = 0;
    good = good && read_process(theirs.process, theirs.address, &found, sizeof found) == 0 &&
           found == theirs.value;
    processes.push_back(theirs.process);
  }
  mine.opens = good ? 1 : 0;
  control.meet();
  for (Rank rank = 0; rank < control.ranks(); ++rank) good = good && control.door_of(rank).opens != 0;
  processes_ = std::move(processes);
  answer_ = good ? Answer::yes : Answer::no;
  return good;
}

void PeerMemory::read(NodeControl& control, Rank rank, const node_memory::Location& place, Bytes offset,
                      void* to, Bytes bytes) const {
  if (place.owner >= 0) return copy_piece(to, bytes_at(node_memory::address(place), offset), bytes, false);
  const int error =
      read_process(processes_[static_cast<std::size_t>(rank)], place.offset + offset, to, bytes);
  if (error == 0) return;
  const std::string reason =
      error == ESRCH ? "has ended"
                     : std::string("has memory that cannot be read (") + std::strerror(error) + ")";
  throw Error(control.title(), control.name_of_rank(rank) + " " + reason);
}

}  // namespace shoal
