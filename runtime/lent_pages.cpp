#include "lent_pages.hpp"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include <shoal/runtime/log.hpp>

namespace shoal::node_memory {
namespace {

// Each takes a mapping or two of the 65,530 that a process may have.
constexpr std::size_t most_ranges = 1024;

bool map_private(std::byte* begin, Bytes bytes) noexcept {
  return mmap(begin, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
         MAP_FAILED;
}

// In one step, so that others may read the pages meanwhile; and refused, if so, before it begins.
bool map_over(std::span<std::byte> pages, int heap, Location place) noexcept {
  void* const made = mmap(nullptr, pages.size(), PROT_READ | PROT_WRITE, MAP_SHARED, heap,
                          static_cast<off_t>(place.offset));
  if (made == MAP_FAILED) return false;
  if (mremap(made, pages.size(), pages.size(), MREMAP_MAYMOVE | MREMAP_FIXED, pages.data()) !=
      MAP_FAILED) {
    return true;
  }
  const int why = errno;
  munmap(made, pages.size());
  if (msync(pages.data(), pages.size(), MS_ASYNC) == 0) return false;
  log::error(std::string("node-shared memory: pages are lost: ") + std::strerror(why));
  std::abort();
}

}  // namespace

LentPages& LentPages::get() {
  static auto* const instance = new LentPages;  // memory may be given back after everything else
  return *instance;
}

LentPages::LentPages() {
  ranges_.reserve(most_ranges);
  pthread_atfork(before_fork, after_fork, in_child);
}

void LentPages::before_fork() noexcept { get().mutex_.lock(); }
void LentPages::after_fork() noexcept { get().mutex_.unlock(); }

// Copied when it is first written: until then the child sees what its parent does there.
void LentPages::in_child() noexcept {
  LentPages& me = get();
  for (const Range& range : me.ranges_) {
    if (range.heap < 0) continue;
    mmap(range.begin, range.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, range.heap,
         static_cast<off_t>(range.place.offset));
  }
  me.ranges_.clear();
  me.note_bounds();
  me.mutex_.unlock();
}

void LentPages::note_bounds() noexcept {
  low_.store(ranges_.empty() ? nullptr : ranges_.front().begin, std::memory_order_relaxed);
  high_.store(ranges_.empty() ? nullptr : ranges_.back().end(), std::memory_order_relaxed);
}

bool LentPages::add(std::span<std::byte> pages, int heap, Location place) noexcept {
  const std::lock_guard lock(mutex_);
  if (ranges_.size() >= most_ranges) return false;
  if (!map_over(pages, heap, place)) return false;
  madvise(pages.data(), pages.size(), MADV_HUGEPAGE);
  const Range range{pages.data(), pages.size(), heap, place};
  ranges_.insert(std::upper_bound(ranges_.begin(), ranges_.end(), range,
                                  [](const Range& a, const Range& b) { return a.begin < b.begin; }),
                 range);
  note_bounds();
  return true;
}

LentPages::Removed LentPages::remove(const void* begin) noexcept {
  const std::lock_guard lock(mutex_);
  const auto range = std::find_if(ranges_.begin(), ranges_.end(),
                                  [&](const Range& each) { return each.begin == begin; });
  if (range == ranges_.end()) return {};
  if (!map_private(range->begin, range->bytes)) return {true, true, std::nullopt};
  const auto place = range->heap >= 0 ? std::optional(range->place) : std::nullopt;
  ranges_.erase(range);
  note_bounds();
  return {true, false, place};
}

std::optional<Location> LentPages::locate(const void* pointer) const noexcept {
  const auto* at = static_cast<const std::byte*>(pointer);
  if (at < low_.load(std::memory_order_relaxed) || at >= high_.load(std::memory_order_relaxed)) {
    return std::nullopt;
  }
  const std::lock_guard lock(mutex_);
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), at,
                       [](const std::byte* a, const Range& range) { return a < range.begin; });
  if (after == ranges_.begin()) return std::nullopt;
  const Range& range = *(after - 1);
  if (at >= range.end() || range.heap < 0) return std::nullopt;
  return Location{range.place.owner,
                  range.place.offset + static_cast<std::uint64_t>(at - range.begin)};
}

void LentPages::heap_ends() noexcept {
  const std::lock_guard lock(mutex_);
  for (Range& range : ranges_) range.heap = -1;
}

}  // namespace shoal::node_memory
