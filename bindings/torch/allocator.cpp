#include "allocator.hpp"

#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/node_memory.hpp>

#include "session.hpp"

namespace shoal::torch_backend {
namespace {

// So much of what was freed is kept for those who ask for as much again: fresh pages cost more than most
// of what is done with them.
constexpr Bytes most_spare = Bytes{256} << 20;
constexpr Bytes page = 4096;

// Kept apart from the heap, to which everything goes back: so it is known what is a block, and how large.
class Blocks {
 public:
  // Null where the heap has no room.
  void* take(Bytes bytes) {
    const Bytes capacity = (bytes + page - 1) / page * page;
    const std::lock_guard lock(mutex_);
    if (const auto spare = spares_.find(capacity); spare != spares_.end()) {
      void* const block = spare->second;
      spares_.erase(spare);
      spare_bytes_ -= capacity;
      used_[block] = capacity;
      return block;
    }
    try {
      void* const block = node_memory::allocate(capacity);
      used_[block] = capacity;
      return block;
    } catch (const Error&) {
      return nullptr;
    }
  }

  // False if it is none of these.
  bool give_back(void* block) {
    const std::lock_guard lock(mutex_);
    const auto found = used_.find(block);
    if (found == used_.end()) return false;
    const Bytes capacity = found->second;
    used_.erase(found);
    if (!Session::alive()) return true;  // a child's parent has it, or the heap has gone
    if (spare_bytes_ + capacity <= most_spare) {
      spares_.emplace(capacity, block);
      spare_bytes_ += capacity;
    } else {
      node_memory::release(block);
    }
    return true;
  }

 private:
  std::mutex mutex_;
  std::map<void*, Bytes> used_;
  std::multimap<Bytes, void*> spares_;
  Bytes spare_bytes_ = 0;
};

Blocks& blocks() {
  static auto* const instance = new Blocks;  // tensors may outlive everything
  return *instance;
}

class SharedAllocator final : public c10::Allocator {
 public:
  explicit SharedAllocator(c10::Allocator* rest) : rest_(rest) { rest_deleter_ = rest->raw_deleter(); }

  // It was const up to 2.2: whichever the base has, one of the two is it.
  c10::DataPtr allocate(std::size_t bytes) const { return shared_or_not(bytes); }
  c10::DataPtr allocate(std::size_t bytes) { return shared_or_not(bytes); }
  // Of the base from 2.3 on.
  void copy_data(void* to, const void* from, std::size_t bytes) const { std::memcpy(to, from, bytes); }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  static inline std::atomic<Bytes> at_least{0};

 private:
  c10::DataPtr shared_or_not(std::size_t bytes) const {
    void* block = nullptr;
    if (bytes >= at_least.load(std::memory_order_relaxed) && Session::alive()) {
      block = blocks().take(bytes);
    }
    if (block == nullptr) block = rest_->raw_allocate(bytes);
    return {block, block, &release, c10::Device(c10::DeviceType::CPU)};
  }

  static void release(void* block) {
    if (node_memory::locate(block).has_value() || !Session::alive()) {
      if (blocks().give_back(block)) return;
    }
    rest_deleter_(block);
  }

  c10::Allocator* const rest_;
  static inline c10::DeleterFnPtr rest_deleter_ = nullptr;
};

}  // namespace

void share_tensors(Bytes at_least) {
  Session::get();
  if (!node_memory::available()) return;
  SharedAllocator::at_least = at_least;
  static SharedAllocator* const installed = [] {
    auto* const made = new SharedAllocator(c10::GetCPUAllocator());
    c10::SetCPUAllocator(made, 1);
    return made;
  }();
  static_cast<void>(installed);
}

}  // namespace shoal::torch_backend
