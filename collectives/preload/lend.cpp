// malloc and its family, in front of whatever the program has.
//
// A large allocation gets pages of its own, between MPI_Init and MPI_Finalize. When a collective comes
// a second time with such a buffer, its pages are lent to the ranks of the node (node_memory::lend): they
// stay where they are, but are shared. Before the program frees, resizes or drops them they are private
// again, as glibc left them. A child made by fork() gets copies. So the program sees no difference, but for
// the time that these take.
//
// Memory that comes from elsewhere (mmap, calloc, the stack, before MPI_Init) is never lent: nobody would
// tell when it ends.
#include "preload/lend.hpp"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/settings.hpp>

#include "preload/preload.hpp"

namespace shoal::preload {
namespace {

constexpr std::size_t page = 4096;
// Of an allocation, and of a buffer.
constexpr std::size_t least = 64 << 10;

// The next library's function of a name: glibc's, if the program has no other.
template <class Function>
Function* next(const char* name) noexcept {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
void* next_malloc(std::size_t bytes) noexcept {
  static auto* const function = next<void*(std::size_t)>("malloc");
  return function(bytes);
}
void* next_realloc(void* memory, std::size_t bytes) noexcept {
  static auto* const function = next<void*(void*, std::size_t)>("realloc");
  return function(memory, bytes);
}
void next_free(void* memory) noexcept {
  static auto* const function = next<void(void*)>("free");
  function(memory);
}
void* next_memalign(std::size_t alignment, std::size_t bytes) noexcept {
  static auto* const function = next<void*(std::size_t, std::size_t)>("memalign");
  return function(alignment, bytes);
}
int next_madvise(void* memory, std::size_t bytes, int advice) noexcept {
  static auto* const function = next<int(void*, std::size_t, int)>("madvise");
  return function(memory, bytes, advice);
}

// An allocation that begins at a page.
struct Chunk {
  std::size_t bytes = 0;   // the program's
  std::size_t pages = 0;   // bytes of the pages in which there is nothing else
  bool lent = false;       // some of them
};

std::atomic<bool> lending{false};
std::atomic<std::size_t> noted{0};  // how many chunks there are

// Not held while pages are lent or taken back: fork() takes this lock, and the one of those.
std::mutex mutex;
// What this thread allocates and frees while it has the lock is nobody's buffer, and must not ask for the lock.
__thread int busy __attribute__((tls_model("initial-exec"))) = 0;

class Lock {
 public:
  Lock() : lock_(mutex) { ++busy; }
  ~Lock() { --busy; }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  std::lock_guard<std::mutex> lock_;
};

std::map<std::byte*, Chunk>& chunks() {
  static auto* const instance = new std::map<std::byte*, Chunk>;
  return *instance;
}

// Buffers that came lately; `mutex` guards them, too.
struct Seen {
  const std::byte* data = nullptr;
  Bytes bytes = 0;
  int times = 0;  // up to 3
};
std::array<Seen, 64> seen;
std::size_t oldest = 0;

bool at_page(const void* memory) noexcept {
  return reinterpret_cast<std::uintptr_t>(memory) % page == 0;
}

void note(void* memory, std::size_t bytes, std::size_t pages) noexcept {
  try {
    const Lock lock;
    chunks()[static_cast<std::byte*>(memory)] = {bytes, pages, false};
    noted.store(chunks().size(), std::memory_order_relaxed);
  } catch (const std::bad_alloc&) {
    // It is never lent, then.
  }
}

// The allocation ends. False if its pages could not be had back.
bool forget(void* memory, node_memory::Contents contents) noexcept {
  if (noted.load(std::memory_order_relaxed) == 0 || memory == nullptr || !at_page(memory) || busy > 0) return true;
  auto* const begin = static_cast<std::byte*>(memory);
  Chunk ended;
  {
    const Lock lock;
    const auto found = chunks().find(begin);
    if (found == chunks().end()) return true;
    ended = found->second;
    chunks().erase(found);
    noted.store(chunks().size(), std::memory_order_relaxed);
    for (Seen& each : seen) {
      if (each.data >= begin && each.data < begin + ended.pages) each = {};
    }
  }
  if (!ended.lent) return true;
  const int before = errno;
  const bool back = node_memory::take_back({begin, ended.pages}, contents);
  errno = before;
  return back;
}

// glibc takes allocations up to the longest that was freed from memory that it keeps, longer ones from the
// system, page by page. What is aligned asks for more than it counts as when it is freed: so each would be
// longer than the last. One that is longer by some pages comes before, and is freed.
void keep_for_next(std::size_t bytes) noexcept {
  constexpr std::size_t most_kept = 32 << 20;  // as glibc has it
  constexpr std::size_t more = 4 * page;
  static std::atomic<std::size_t> longest{0};
  if (bytes + more > most_kept || bytes <= longest.load(std::memory_order_relaxed)) return;
  longest.store(bytes, std::memory_order_relaxed);
  next_free(next_malloc(bytes + more));
}

// With pages of its own; null where the next library is to serve.
void* with_own_pages(std::size_t alignment, std::size_t bytes) noexcept {
  if (bytes < least || bytes > SIZE_MAX - page || !lending.load(std::memory_order_relaxed) || busy > 0) {
    return nullptr;
  }
  const std::size_t whole = (bytes + page - 1) / page * page;
  keep_for_next(whole);
  void* const memory = next_memalign(std::max(alignment, page), whole);
  if (memory != nullptr) note(memory, bytes, whole);
  return memory;
}

void* aligned(std::size_t alignment, std::size_t bytes) noexcept {
  void* const memory = with_own_pages(alignment, bytes);
  return memory != nullptr ? memory : next_memalign(alignment, bytes);
}

void* resized(void* memory, std::size_t bytes) noexcept {
  const std::size_t old = malloc_usable_size(memory);
  if (!forget(memory, node_memory::Contents::kept)) {
    // Shared for good: it is left behind.
    void* const copy = next_malloc(bytes);
    if (copy != nullptr) std::copy_n(static_cast<std::byte*>(memory), std::min(old, bytes), static_cast<std::byte*>(copy));
    return copy;
  }
  void* const made = next_realloc(memory, bytes);
  if (made != nullptr && bytes >= least && lending.load(std::memory_order_relaxed) && at_page(made)) {
    note(made, bytes / page * page, bytes / page * page);  // what follows is in the last page, too
  }
  return made;
}

// The pages of a buffer that comes for the second time; none if they are not to be lent.
std::span<std::byte> pages_of(std::byte* data, Bytes bytes) {
  const Lock lock;
  auto entry = std::find_if(seen.begin(), seen.end(),
                            [&](const Seen& each) { return each.data == data && each.bytes == bytes; });
  if (entry == seen.end()) {
    entry = seen.begin() + static_cast<std::ptrdiff_t>(oldest++ % seen.size());
    *entry = {data, bytes, 0};
  }
  if (entry->times > 2 || ++entry->times != 2) return {};
  auto chunk = chunks().upper_bound(data);
  if (chunk == chunks().begin()) return {};
  --chunk;
  const auto offset = static_cast<std::size_t>(data - chunk->first);
  if (offset >= chunk->second.bytes || bytes > chunk->second.bytes - offset) return {};
  const bool to_its_end = offset + bytes == chunk->second.bytes;
  const std::size_t whole = (bytes + page - 1) / page * page;
  if ((bytes != whole && !to_its_end) || offset + whole > chunk->second.pages) return {};
  chunk->second.lent = true;
  return {data, whole};
}

void lend_if_it_recurs(const void* buffer, Bytes bytes) {
  if (bytes < least || !at_page(buffer) || node_memory::locate(buffer, bytes)) return;
  auto* const data = static_cast<std::byte*>(const_cast<void*>(buffer));
  const std::span<std::byte> pages = pages_of(data, bytes);
  if (!pages.empty()) node_memory::lend(pages, node_memory::InChild::copy);
}

// What the program drops reads as zeros next, if it is private.
void take_back_what_is_dropped(void* memory, std::size_t bytes) noexcept {
  if (noted.load(std::memory_order_relaxed) == 0) return;
  auto* const begin = static_cast<std::byte*>(memory);
  std::vector<std::span<std::byte>> lent;
  {
    const Lock lock;
    for (auto& [start, chunk] : chunks()) {
      if (!chunk.lent || start + chunk.pages <= begin || begin + bytes <= start) continue;
      chunk.lent = false;
      lent.emplace_back(start, chunk.pages);
    }
  }
  for (const auto& each : lent) node_memory::take_back(each, node_memory::Contents::kept);
}

// Whether what the program calls comes here first, and goes on to glibc.
bool stands_before_glibc() {
  const auto library_of = [](const void* function) -> std::string_view {
    Dl_info info{};
    return dladdr(function, &info) != 0 && info.dli_fname != nullptr ? info.dli_fname : "";
  };
  const std::string_view mine = library_of(reinterpret_cast<const void*>(&start_lending));
  for (const char* name : {"malloc", "free", "realloc", "memalign"}) {
    if (library_of(dlsym(RTLD_DEFAULT, name)) != mine) return false;
    if (library_of(dlsym(RTLD_NEXT, name)).find("/libc.so") == std::string_view::npos) return false;
  }
  return true;
}

}  // namespace

void start_lending() {
  if (!settings().preload_lend || node_memory::node_size() == 1 || !node_memory::available()) return;
  if (!stands_before_glibc()) return;
  if (pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, [] { mutex.unlock(); }) != 0) return;
  chunks();
  lending = true;
}

void stop_lending() noexcept {
  lending = false;
  std::vector<std::span<std::byte>> lent;
  {
    const Lock lock;
    for (auto& [start, chunk] : chunks()) {
      if (!chunk.lent) continue;
      lent.emplace_back(start, chunk.pages);
    }
  }
  for (const auto& each : lent) node_memory::take_back(each, node_memory::Contents::kept);
}

void lend_what_recurs(const Call& call) noexcept {
  if (call.bytes() < least || !lending.load(std::memory_order_relaxed)) return;
  try {
    const Bytes bytes = call.bytes();
    switch (call.operation) {
      case Operation::all_reduce:
        lend_if_it_recurs(call.in, bytes);
        if (call.out != call.in) lend_if_it_recurs(call.out, bytes);
        break;
      case Operation::reduce_scatter:
      case Operation::all_to_all:
        lend_if_it_recurs(call.in, bytes);
        break;
      case Operation::all_gather:
        lend_if_it_recurs(call.in, bytes / static_cast<Bytes>(call.comm->size()));
        break;
      case Operation::broadcast:
        if (call.comm->rank() == call.root) lend_if_it_recurs(call.in, bytes);
        break;
      case Operation::barrier: break;
    }
  } catch (const std::exception&) {
    // They stay private.
  }
}

}  // namespace shoal::preload

extern "C" {

namespace preload = shoal::preload;

SHOAL_EXPORT void* malloc(std::size_t bytes) {
  void* const memory = preload::with_own_pages(1, bytes);
  return memory != nullptr ? memory : preload::next_malloc(bytes);
}

SHOAL_EXPORT void* realloc(void* memory, std::size_t bytes) {
  if (memory == nullptr) return malloc(bytes);
  if (bytes == 0) {
    free(memory);
    return nullptr;
  }
  return preload::resized(memory, bytes);
}

SHOAL_EXPORT void free(void* memory) {
  if (preload::forget(memory, shoal::node_memory::Contents::lost)) preload::next_free(memory);
}

SHOAL_EXPORT void* memalign(std::size_t alignment, std::size_t bytes) {
  return preload::aligned(alignment, bytes);
}

SHOAL_EXPORT void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  return preload::aligned(alignment, bytes);
}

SHOAL_EXPORT int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  if (alignment % sizeof(void*) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) {
    return EINVAL;
  }
  const int before = errno;
  void* const made = preload::aligned(alignment, bytes);
  errno = before;
  if (made == nullptr) return ENOMEM;
  *memory = made;
  return 0;
}

SHOAL_EXPORT int madvise(void* memory, std::size_t bytes, int advice) {
  if (advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE) {
    preload::take_back_what_is_dropped(memory, bytes);
  }
  return preload::next_madvise(memory, bytes, advice);
}

}  // extern "C"
