// Private memory that takes part in a rank's shared heap for a while.
#pragma once

#include <array>
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

  /// Places in the heap that hold nothing any more.
  using Places = std::vector<Location>;
  /// Maps `pages` to `place` in the file `heap`, and copies there what is in them. False if that cannot
  /// be: then nothing has changed. `freed`: of ranges within.
  bool add(std::span<std::byte> pages, int heap, Location place, InChild in_child, Places& freed) noexcept;
  /// Maps private pages over all ranges within `memory`; false if that failed for some.
  bool remove(std::span<std::byte> memory, Contents contents, Places& freed) noexcept;
  std::optional<Location> locate(const void* data, Bytes bytes) const noexcept;
  /// The heap goes: nothing is located any more.
  void heap_ends() noexcept;

 private:
  struct Range {
    std::byte* begin;
    Bytes bytes;
    int heap;  // −1: it has gone
    Location place;
    InChild in_child;
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
  std::array<int, 2> copied_{-1, -1};  // a pipe that ends when a child has its copies
};

}  // namespace shoal::node_memory
