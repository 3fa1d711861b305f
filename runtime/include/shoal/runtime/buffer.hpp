// Memory that owns: private to the process, or visible to every rank of the node.
#pragma once

#include <span>
#include <type_traits>
#include <utility>

#include <shoal/runtime/units.hpp>
#include <shoal/runtime/view.hpp>

namespace shoal {

/// Where a buffer lives. node_shared memory is mapped by every rank of the node, so that collectives
/// read and write it in place (no copy); it needs a Runtime. Where the system refuses such memory it
/// is private, and collectives stage their data. It is private, too, where a rank is alone on a node.
enum class Memory { local, node_shared };

/// Untyped storage behind Buffer: `bytes` of zeros, aligned to 64 bytes. Throws Error when there is
/// not enough memory.
class Storage {
 public:
  Storage() = default;
  Storage(Bytes bytes, Memory memory);
  Storage(Storage&& other) noexcept { swap(other); }
  Storage& operator=(Storage&& other) noexcept {
    Storage old(std::move(other));
    swap(old);
    return *this;
  }
  ~Storage();

  std::byte* data() const noexcept { return data_; }
  Bytes bytes() const noexcept { return bytes_; }
  Memory memory() const noexcept { return memory_; }

 private:
  void swap(Storage& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(memory_, other.memory_);
  }

  std::byte* data_ = nullptr;
  Bytes bytes_ = 0;
  Memory memory_ = Memory::local;
};

/// An array of `count` elements, zero at first, aligned to 64 bytes. Movable, not copyable.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(Index count, Memory memory = Memory::local)
      : storage_(static_cast<Bytes>(count) * sizeof(T), memory), count_(count) {}
  Buffer(Buffer&& other) noexcept
      : storage_(std::move(other.storage_)), count_(std::exchange(other.count_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    storage_ = std::move(other.storage_);
    count_ = std::exchange(other.count_, 0);
    return *this;
  }

  T* data() const noexcept { return reinterpret_cast<T*>(storage_.data()); }
  Index size() const noexcept { return count_; }
  T* begin() const noexcept { return data(); }
  T* end() const noexcept { return data() + count_; }
  T& operator[](Index i) const noexcept { return data()[i]; }
  Memory memory() const noexcept { return storage_.memory(); }

  std::span<T> span() const noexcept { return {data(), static_cast<std::size_t>(count_)}; }
  /// The buffer as a dense tensor. Throws Error if the shape has more elements than the buffer.
  View<T> view(const Shape& shape) const {
    if (shape.size() > count_) {
      throw Error("Buffer::view", "shape " + shape.text() + " has more elements than the buffer (" +
                                      std::to_string(count_) + ")");
    }
    return View<T>(data(), shape);
  }

 private:
  Storage storage_;
  Index count_ = 0;
};

}  // namespace shoal
