#include "blocks.hpp"

#include <pthread.h>

#include <cstddef>
#include <cstdlib>
#include <span>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/node_memory.hpp>

#include "session.hpp"

namespace shoal::torch_backend {
namespace {

// So much of what was freed in the shared heap is kept for those who ask for as much again: fresh pages
// cost more than most of what is done with them.
constexpr Bytes most_spare = Bytes{256} << 20;
constexpr Bytes page = 4096;

constexpr Bytes whole_pages(Bytes bytes) { return (bytes + page - 1) / page * page; }

}  // namespace

Blocks& Blocks::get() {
  static auto* const instance = new Blocks;  // tensors may outlive everything
  return *instance;
}

Blocks::Blocks() {
  pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); },
                 [] { get().mutex_.unlock(); });
}

void* Blocks::take_shared(Bytes bytes) {
  const Bytes capacity = whole_pages(bytes);
  const std::lock_guard lock(mutex_);
  void* block = nullptr;
  if (const auto spare = spares_.find(capacity); spare != spares_.end()) {
    block = spare->second;
    spares_.erase(spare);
    spare_bytes_ -= capacity;
  } else {
    try {
      block = node_memory::allocate(capacity);
    } catch (const Error&) {
      return nullptr;
    }
  }
  used_[block] = {capacity, true};
  return block;
}

void* Blocks::take_private(Bytes bytes) {
  const Bytes capacity = whole_pages(bytes);
  void* block = nullptr;
  if (posix_memalign(&block, page, capacity) != 0) return nullptr;
  const std::lock_guard lock(mutex_);
  used_[block] = {capacity, false};
  return block;
}

bool Blocks::give_back(void* block) {
  Block ended;
  {
    const std::lock_guard lock(mutex_);
    const auto found = used_.find(block);
    if (found == used_.end()) return false;
    ended = found->second;
    used_.erase(found);
    if (ended.shared) {
      if (!Session::alive()) return true;  // a child's parent has it, or the heap has gone
      if (spare_bytes_ + ended.capacity <= most_spare) {
        spares_.emplace(ended.capacity, block);
        spare_bytes_ += ended.capacity;
      } else {
        node_memory::release(block);
      }
      return true;
    }
  }
  const std::span<std::byte> memory(static_cast<std::byte*>(block), ended.capacity);
  if (!ended.lent || node_memory::take_back(memory, node_memory::Contents::lost)) std::free(block);
  return true;
}

bool Blocks::lend_if_it_recurs(void* data, Bytes bytes) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = used_.find(data);
    if (found == used_.end()) return false;
    Block& block = found->second;
    if (block.shared || block.lent || block.refused || block.capacity != whole_pages(bytes)) {
      return block.shared || block.lent;
    }
    if (++block.times < 2) return false;
    block.lent = true;  // nobody frees what is in a collective
  }
  const Bytes capacity = whole_pages(bytes);
  // The workers of a DataLoader have no use for gradients, and would each copy them.
  if (node_memory::lend({static_cast<std::byte*>(data), capacity}, node_memory::InChild::follow)) return true;
  const std::lock_guard lock(mutex_);
  if (const auto found = used_.find(data); found != used_.end()) {
    found->second.lent = false;
    found->second.refused = true;
  }
  return false;
}

}  // namespace shoal::torch_backend
