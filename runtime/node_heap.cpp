#include "node_heap.hpp"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/memory_left.hpp>

namespace shoal {
namespace {

constexpr Bytes line = 64;
constexpr Bytes page = 4096;
// From this size on a block has pages of its own, which go back to the system when it is released.
constexpr Bytes large = 64 << 10;

constexpr Bytes round_up(Bytes value, Bytes to) { return (value + to - 1) / to * to; }

}  // namespace

NodeHeap::NodeHeap(int fd, std::byte* base, Bytes bytes) : fd_(fd), base_(base), bytes_(bytes) {
  free_[0] = bytes;
}

void NodeHeap::claim_pages(Bytes offset, Bytes bytes) {
  const std::string what = std::to_string(bytes >> 20) + " MiB";
  // The kernel would rather kill a process than refuse it pages, so look before asking for many.
  if (bytes >= (Bytes{64} << 20) && bytes > memory_left().bytes) {
    throw Error("node-shared memory", what + " asked for, more than is left of " + memory_left().limit,
                "use fewer ranks a node or a smaller problem");
  }
  int result = 0;
  do {
    result = fallocate(fd_, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EOPNOTSUPP) {
    throw Error("node-shared memory", "cannot get " + what + ": " + std::strerror(errno),
                "use fewer ranks a node or a smaller problem");
  }
}

void* NodeHeap::allocate(Bytes bytes) {
  const bool has_pages = bytes >= large;
  const Bytes alignment = has_pages ? page : line;
  const Bytes size = round_up(bytes == 0 ? 1 : bytes, alignment);
  if (size < bytes) throw Error("node-shared memory", "size overflows");
  const std::lock_guard lock(mutex_);
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const auto [begin, length] = *it;
    const Bytes start = round_up(begin, alignment);
    if (start + size > begin + length) continue;
    claim_pages(start, size);
    free_.erase(it);
    if (start > begin) free_[begin] = start - begin;
    if (start + size < begin + length) free_[start + size] = begin + length - (start + size);
    used_[start] = size;
    return base_ + start;
  }
  throw Error("node-shared memory",
              std::to_string(bytes) + " bytes asked for, but the heap of " +
                  std::to_string(bytes_ >> 20) + " MiB has no such gap",
              "use a smaller problem");
}

void NodeHeap::release(void* pointer) noexcept {
  const std::lock_guard lock(mutex_);
  const auto offset = static_cast<Bytes>(static_cast<std::byte*>(pointer) - base_);
  const auto block = used_.find(offset);
  if (block == used_.end()) return;
  auto [begin, size] = *block;
  used_.erase(block);
  // Free memory always reads as zeros, which is what the next owner is promised. A large block's
  // pages go back to the system, and the hole reads as zeros.
  const bool punched =
      size >= large && fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                 static_cast<off_t>(begin), static_cast<off_t>(size)) == 0;
  if (!punched) std::memset(base_ + begin, 0, size);
  const auto after = free_.lower_bound(begin);
  if (after != free_.end() && begin + size == after->first) {
    size += after->second;
    free_.erase(after);
  }
  const auto next = free_.lower_bound(begin);
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == begin) {
      before->second += size;
      return;
    }
  }
  free_[begin] = size;
}

bool NodeHeap::empty() const noexcept {
  const std::lock_guard lock(mutex_);
  return used_.empty();
}

}  // namespace shoal
