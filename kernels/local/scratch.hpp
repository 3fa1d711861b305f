// Working memory that grows and is kept.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace shoal::kernels {

/// Uninitialised memory, aligned to cache lines. Meant to be thread_local: a training step asks for
/// the same sizes again and again, and fresh pages would cost a fault each.
class Scratch {
 public:
  /// Room for `count` elements of a plain type; what was there before is lost.
  template <class T>
  T* get(std::size_t count) {
    const std::size_t bytes = (count * sizeof(T) + alignment) / alignment * alignment;
    if (bytes > bytes_) {
      memory_.reset();
      bytes_ = 0;
      memory_.reset(std::aligned_alloc(alignment, bytes));
      if (!memory_) throw std::bad_alloc();
      bytes_ = bytes;
    }
    return static_cast<T*>(memory_.get());
  }

  std::size_t bytes() const noexcept { return bytes_; }

 private:
  static constexpr std::size_t alignment = 64;
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace shoal::kernels
