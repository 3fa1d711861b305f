// malloc and its family, in front of glibc's.
//
// A block of at least the threshold comes from this rank's heap (runtime/node_memory.hpp) between
// MPI_Init and MPI_Finalize, everything else from glibc. The heap is a memory file mapped shared,
// and differs from private memory in one way: after fork() parent and child would write the same
// pages. So the child does not get them (MADV_DONTFORK): it may exec, and free() what it likes, but
// dies if it touches such a block. Some freed blocks are kept for the next; the rest goes back to the
// system.
//
// mmap is left alone: what programs do to such mappings (unmapping parts, MADV_DONTNEED, which
// leaves zeros in private memory only) is not to be had from a heap.
#include "preload/allocate.hpp"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/node_memory.hpp>

#include "preload/preload.hpp"

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
}

namespace shoal::preload {
namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t least_threshold = 64 << 10;  // from here on the heap gives whole pages
// So much of what was freed is kept for those who ask for as much again: fresh pages cost more than
// most of what is done with them, and MPI itself allocates its buffers anew in every call.
constexpr std::size_t most_spare = 64 << 20;

std::atomic<std::size_t> threshold{SIZE_MAX};  // SIZE_MAX: all from glibc
std::atomic<std::uintptr_t> heap_begin{0};
std::atomic<std::uintptr_t> heap_end{0};
std::atomic<bool> ended{false};
std::atomic<bool> is_child{false};

// The sizes of the blocks; kept here because they outlive the heap.
std::mutex mutex;
std::map<void*, std::size_t>& blocks() {
  static auto* const instance = new std::map<void*, std::size_t>;
  return *instance;
}

// Freed blocks by their capacity; `mutex` guards them, too.
std::multimap<std::size_t, void*>& spares() {
  static auto* const instance = new std::multimap<std::size_t, void*>;
  return *instance;
}
std::size_t spare_bytes = 0;
bool keeping = true;  // until MPI_Finalize

std::size_t capacity_of(std::size_t bytes) noexcept { return (bytes + page - 1) / page * page; }

// What Shoal allocates while it allocates is glibc's.
__thread int busy __attribute__((tls_model("initial-exec"))) = 0;

class Busy {
 public:
  Busy() noexcept { ++busy; }
  ~Busy() { --busy; }
};

bool is_ours(const void* pointer) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return address >= heap_begin.load(std::memory_order_relaxed) &&
         address < heap_end.load(std::memory_order_relaxed);
}

std::size_t size_of_block(void* pointer) {
  const std::lock_guard lock(mutex);
  const auto found = blocks().find(pointer);
  return found == blocks().end() ? 0 : found->second;
}

void* take_spare(std::size_t bytes) {
  const std::lock_guard lock(mutex);
  const auto found = spares().find(capacity_of(bytes));
  if (found == spares().end()) return nullptr;
  void* const block = found->second;
  spare_bytes -= found->first;
  spares().erase(found);
  blocks()[block] = bytes;
  return block;
}

void release_spares() noexcept {
  const Busy now;
  std::multimap<std::size_t, void*> released;
  {
    const std::lock_guard lock(mutex);
    released.swap(spares());
    spare_bytes = 0;
  }
  for (const auto& [capacity, block] : released) node_memory::release(block);
}

void* fresh(std::size_t bytes) {
  try {
    return node_memory::allocate(bytes);
  } catch (const Error&) {
    release_spares();
    return node_memory::allocate(bytes);
  }
}

// A block from the heap, of zeros if so wanted; null where glibc is to serve.
void* from_heap(std::size_t bytes, std::size_t alignment, bool zeros = false) noexcept {
  if (bytes < threshold.load(std::memory_order_relaxed) || alignment > page || busy > 0) {
    return nullptr;
  }
  const Busy now;
  try {
    if (void* const spare = take_spare(bytes)) {
      if (zeros) std::memset(spare, 0, bytes);
      return spare;
    }
    void* const block = fresh(bytes);  // zeros
    const std::lock_guard lock(mutex);
    blocks()[block] = bytes;
    return block;
  } catch (const std::exception&) {
    return nullptr;  // the heap has no room; perhaps glibc has
  }
}

void give_back(void* pointer) noexcept {
  if (is_child) return;  // the pages are the parent's
  const Busy now;
  std::size_t bytes = 0;
  {
    const std::lock_guard lock(mutex);
    const auto found = blocks().find(pointer);
    if (found == blocks().end()) return;
    bytes = found->second;
    blocks().erase(found);
    const std::size_t capacity = capacity_of(bytes);
    if (keeping && spare_bytes + capacity <= most_spare) {
      spares().emplace(capacity, pointer);
      spare_bytes += capacity;
      return;
    }
  }
  if (ended) {
    munmap(pointer, capacity_of(bytes));
  } else {
    node_memory::release(pointer);
  }
}

std::size_t usable_in_glibc(void* pointer) {
  using Function = std::size_t (*)(void*);
  static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "malloc_usable_size"));
  return next(pointer);
}

void* moved(void* pointer, std::size_t old_bytes, std::size_t bytes) {
  void* const block = std::malloc(bytes);
  if (block == nullptr) return nullptr;
  std::memcpy(block, pointer, std::min(old_bytes, bytes));
  std::free(pointer);
  return block;
}

void* resized(void* pointer, std::size_t bytes) {
  if (!is_ours(pointer)) {
    if (bytes < threshold.load(std::memory_order_relaxed) || busy > 0) {
      return __libc_realloc(pointer, bytes);
    }
    return moved(pointer, usable_in_glibc(pointer), bytes);
  }
  if (is_child) {
    errno = ENOMEM;
    return nullptr;
  }
  const std::size_t old_bytes = size_of_block(pointer);
  if (bytes <= old_bytes && bytes >= old_bytes / 2) return pointer;
  return moved(pointer, old_bytes, bytes);
}

void* aligned(std::size_t alignment, std::size_t bytes) noexcept {
  void* const block = from_heap(bytes, alignment);
  return block != nullptr ? block : __libc_memalign(alignment, bytes);
}

void in_child() {
  is_child = true;
  threshold = SIZE_MAX;
}

// The mutex must not be held by a thread that the child does not have.
void before_fork() { mutex.lock(); }
void after_fork() { mutex.unlock(); }
void after_fork_in_child() {
  mutex.unlock();
  in_child();
}

}  // namespace

void start_allocating() {
  std::size_t least = least_threshold;
  if (const char* text = std::getenv("SHOAL_PRELOAD_ALLOC"); text != nullptr && *text != '\0') {
    char* end = nullptr;
    const unsigned long long bytes = std::strtoull(text, &end, 10);
    if (*end != '\0' || bytes == 0) return;  // "off"
    least = std::max<std::size_t>(bytes, least_threshold);
  }
  const auto heap = node_memory::own_heap();
  if (heap.empty()) return;
  if (madvise(heap.data(), heap.size(), MADV_DONTFORK) != 0) return;
  if (pthread_atfork(before_fork, after_fork, after_fork_in_child) != 0) return;
  blocks();
  spares();
  heap_end = reinterpret_cast<std::uintptr_t>(heap.data() + heap.size());
  heap_begin = reinterpret_cast<std::uintptr_t>(heap.data());
  threshold = least;
}

void stop_allocating() noexcept {
  threshold = SIZE_MAX;
  {
    const std::lock_guard lock(mutex);
    keeping = false;
  }
  release_spares();
  const std::lock_guard lock(mutex);
  // An empty heap is unmapped when the Runtime ends, and its addresses may become anyone's.
  if (blocks().empty()) heap_end = heap_begin.load();
  ended = true;
}

}  // namespace shoal::preload

extern "C" {

namespace preload = shoal::preload;

SHOAL_EXPORT void* malloc(std::size_t bytes) {
  void* const block = preload::from_heap(bytes, 1);
  return block != nullptr ? block : __libc_malloc(bytes);
}

SHOAL_EXPORT void* calloc(std::size_t count, std::size_t size) {
  std::size_t bytes = 0;
  if (!__builtin_mul_overflow(count, size, &bytes)) {
    if (void* const block = preload::from_heap(bytes, 1, true)) return block;
  }
  return __libc_calloc(count, size);
}

SHOAL_EXPORT void* realloc(void* pointer, std::size_t bytes) {
  if (pointer == nullptr) return malloc(bytes);
  if (bytes == 0) {
    free(pointer);
    return nullptr;
  }
  return preload::resized(pointer, bytes);
}

SHOAL_EXPORT void free(void* pointer) {
  if (preload::is_ours(pointer))
    preload::give_back(pointer);
  else
    __libc_free(pointer);
}

SHOAL_EXPORT void* memalign(std::size_t alignment, std::size_t bytes) {
  return preload::aligned(alignment, bytes);
}

SHOAL_EXPORT void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  return preload::aligned(alignment, bytes);
}

SHOAL_EXPORT int posix_memalign(void** pointer, std::size_t alignment, std::size_t bytes) {
  if (alignment % sizeof(void*) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) {
    return EINVAL;
  }
  const int before = errno;
  void* const block = preload::aligned(alignment, bytes);
  errno = before;
  if (block == nullptr) return ENOMEM;
  *pointer = block;
  return 0;
}

SHOAL_EXPORT std::size_t malloc_usable_size(void* pointer) {
  if (pointer == nullptr) return 0;
  return preload::is_ours(pointer) ? preload::size_of_block(pointer)
                                   : preload::usable_in_glibc(pointer);
}

SHOAL_EXPORT int MPI_Alloc_mem(MPI_Aint bytes, MPI_Info info, void* pointer) {
  if (bytes > 0) {
    if (void* const block = preload::from_heap(static_cast<std::size_t>(bytes), 1)) {
      *static_cast<void**>(pointer) = block;
      return MPI_SUCCESS;
    }
  }
  return PMPI_Alloc_mem(bytes, info, pointer);
}

SHOAL_EXPORT int MPI_Free_mem(void* pointer) {
  if (!preload::is_ours(pointer)) return PMPI_Free_mem(pointer);
  preload::give_back(pointer);
  return MPI_SUCCESS;
}

}  // extern "C"
