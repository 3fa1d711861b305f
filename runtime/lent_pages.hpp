// Private memory that takes part in a rank's shared heap for a while.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include <shoal/runtime/node_memory.hpp>

namespace shoal::node_memory {

/// Ranges of whole pages that are mapped to a place in the heap's file as well, at the addresses that
/// they had as private memory. Thread safe. A child made by fork() has them as private memory again.
class LentPages {
 public:
  static LentPages& get();

  /// Maps `pages` to `place` in the file `heap`, which holds what is in them. False if that cannot be:
  /// then they are as they were.
  bool add(std::span<std::byte> pages, int heap, Location place) noexcept;
  struct Removed {
    bool was_lent = false;
    bool failed = false;           ///< the pages are still lent
    std::optional<Location> free;  ///< the place, if its heap is still there
  };
  /// Maps fresh private pages where a range begins at `begin`; what was in it is lost.
  Removed remove(const void* begin) noexcept;
  std::optional<Location> locate(const void* pointer) const noexcept;
  /// The heap goes: nothing is located any more.
  void heap_ends() noexcept;

 private:
  struct Range {
    std::byte* begin;
    Bytes bytes;
    int heap;  // −1: it has gone
    Location place;
    std::byte* end() const noexcept { return begin + bytes; }
  };
  LentPages();
  static void before_fork() noexcept;
  static void after_fork() noexcept;
  static void in_child() noexcept;
  void note_bounds() noexcept;

  mutable std::mutex mutex_;
  std::vector<Range> ranges_;  // in order
  // All lie between these: most pointers are told apart without the lock.
  std::atomic<const std::byte*> low_{nullptr}, high_{nullptr};
};

}  // namespace shoal::node_memory
