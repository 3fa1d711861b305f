#include "allocator.hpp"

#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>

#include <shoal/runtime/node_memory.hpp>

#include "blocks.hpp"
#include "recurring.hpp"
#include "session.hpp"

namespace shoal::torch_backend {
namespace {

class LargeAllocator final : public c10::Allocator {
 public:
  explicit LargeAllocator(c10::Allocator* rest) : rest_(rest) { rest_deleter_ = rest->raw_deleter(); }

  // It was const up to 2.2: whichever the base has, one of the two is it.
  c10::DataPtr allocate(std::size_t bytes) const { return block_or_not(bytes); }
  c10::DataPtr allocate(std::size_t bytes) { return block_or_not(bytes); }
  // Of the base from 2.3 on.
  void copy_data(void* to, const void* from, std::size_t bytes) const { std::memcpy(to, from, bytes); }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  static inline std::atomic<Bytes> shared_from{std::numeric_limits<Bytes>::max()};

 private:
  c10::DataPtr block_or_not(std::size_t bytes) const {
    void* block = nullptr;
    if (bytes >= shared_from.load(std::memory_order_relaxed) && Session::alive()) {
      block = Blocks::get().take_shared(bytes);
    }
    if (block == nullptr && bytes >= least_recurring) block = Blocks::get().take_private(bytes);
    if (block == nullptr) block = rest_->raw_allocate(bytes);
    return {block, block, &release, c10::Device(c10::DeviceType::CPU)};
  }

  static void release(void* memory) {
    constexpr std::uintptr_t page = 4096;
    const bool at_page = memory != nullptr && reinterpret_cast<std::uintptr_t>(memory) % page == 0;
    if ((at_page || node_memory::locate(memory)) && Blocks::get().give_back(memory)) return;
    rest_deleter_(memory);
  }

  c10::Allocator* const rest_;
  static inline c10::DeleterFnPtr rest_deleter_ = nullptr;
};

}  // namespace

void keep_book_of_tensors() {
  if (!node_memory::available() || node_memory::node_size() == 1) return;
  static LargeAllocator* const installed = [] {
    auto* const made = new LargeAllocator(c10::GetCPUAllocator());
    c10::SetCPUAllocator(made, 1);
    return made;
  }();
  static_cast<void>(installed);
}

void share_tensors(Bytes at_least) {
  Session::get();
  keep_book_of_tensors();
  LargeAllocator::shared_from = at_least;
}

}  // namespace shoal::torch_backend
