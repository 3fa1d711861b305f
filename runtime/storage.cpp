#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/forked.hpp>
#include <shoal/runtime/node_memory.hpp>

namespace shoal {
namespace {

constexpr Bytes alignment = 64;
// From this size on memory comes in pages straight from the system: zero without being written, and
// huge pages where it has them.
constexpr Bytes page_threshold = 1 << 20;

std::byte* allocate_local(Bytes bytes) {
  void* memory = nullptr;
  if (bytes >= page_threshold) {
    memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) memory = nullptr;
    if (memory != nullptr) madvise(memory, bytes, MADV_HUGEPAGE);
  } else {
    memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (memory != nullptr) std::memset(memory, 0, bytes);
  }
  if (memory == nullptr) {
    throw Error("buffer", "no memory for " + std::to_string(bytes) + " bytes",
                "use a smaller problem or more ranks");
  }
  return static_cast<std::byte*>(memory);
}

}  // namespace

Storage::Storage(Bytes bytes, Memory memory) : bytes_(bytes), memory_(memory) {
  if (bytes > Bytes{1} << 62) {
    throw Error("buffer", "a size of " + std::to_string(bytes) + " bytes cannot be meant");
  }
  // A rank that has its node to itself shares with nobody, and memory files have no huge pages by
  // default: GPT-2 124M on two hosts of a rank each took 5.3 s of processors a step with its
  // weights and gradients in one, 3.8 without (page tables of a virtual machine).
  const bool nobody_else = node_memory::node_size() == 1;
  if (memory_ == Memory::node_shared &&
      (nobody_else || !node_memory::available() || is_forked_child())) {
    memory_ = Memory::local;
  }
  if (bytes == 0) return;
  data_ = memory_ == Memory::node_shared
              ? static_cast<std::byte*>(node_memory::allocate(bytes))
              : allocate_local(bytes);
}

Storage::~Storage() {
  if (data_ == nullptr) return;
  if (memory_ == Memory::node_shared) {
    node_memory::release(data_);
  } else if (bytes_ >= page_threshold) {
    munmap(data_, bytes_);
  } else {
    std::free(data_);
  }
}

}  // namespace shoal
