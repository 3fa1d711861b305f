// An allocator over one range of shared memory.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

#include <shoal/runtime/units.hpp>

namespace shoal {

/// First-fit allocator over a mapped, sparse memory file. Pages are claimed from the system when a
/// block is allocated, so that running out is an Error and not a SIGBUS later, and large blocks give
/// them back when released. Thread safe.
class NodeHeap {
 public:
  /// Over `bytes` of the file `fd`, mapped at `base`. Owns neither.
  NodeHeap(int fd, std::byte* base, Bytes bytes);

  /// A zero-filled block aligned to 64 bytes (4096 when large). Throws Error.
  void* allocate(Bytes bytes);
  /// Returns a block; a pointer that is no block of this heap is ignored.
  void release(void* pointer) noexcept;
  bool empty() const noexcept;

 private:
  void claim_pages(Bytes offset, Bytes bytes);

  int fd_;
  std::byte* base_;
  Bytes bytes_;
  mutable std::mutex mutex_;
  std::map<Bytes, Bytes> free_;  // offset -> size
  std::map<Bytes, Bytes> used_;
};

}  // namespace shoal
