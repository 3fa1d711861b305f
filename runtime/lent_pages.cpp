#include "lent_pages.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

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
// A child copies some GiB a second.
constexpr int longest_copy_ms = 60'000;

constexpr int readable = PROT_READ | PROT_WRITE;

// In one step, so that others may read the pages meanwhile; and refused, if so, before it begins.
bool move_over(void* made, std::byte* begin, Bytes bytes) noexcept {
  if (made == MAP_FAILED) return false;
  if (mremap(made, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, begin) != MAP_FAILED) return true;
  const int why = errno;
  munmap(made, bytes);
  if (msync(begin, bytes, MS_ASYNC) == 0) return false;
  log::error(std::string("node-shared memory: pages are lost: ") + std::strerror(why));
  std::abort();
}

bool make_private(std::byte* begin, Bytes bytes, Contents contents) noexcept {
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  if (contents == Contents::lost) {
    return mmap(begin, bytes, readable, flags | MAP_FIXED, -1, 0) != MAP_FAILED;
  }
  void* const made = mmap(nullptr, bytes, readable, flags, -1, 0);
  if (made != MAP_FAILED) std::memcpy(made, begin, bytes);
  return move_over(made, begin, bytes);
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

void LentPages::before_fork() noexcept {
  LentPages& me = get();
  me.mutex_.lock();
  const bool copies = std::any_of(me.ranges_.begin(), me.ranges_.end(), [](const Range& range) {
    return range.in_child == InChild::copy;
  });
  if (!copies || pipe2(me.copied_.data(), O_CLOEXEC) != 0) me.copied_ = {-1, -1};
}

void LentPages::after_fork() noexcept {
  LentPages& me = get();
  if (me.copied_[0] >= 0) {
    close(me.copied_[1]);
    pollfd end{me.copied_[0], POLLIN, 0};
    while (poll(&end, 1, longest_copy_ms) < 0 && errno == EINTR) {
    }
    close(me.copied_[0]);
  }
  me.mutex_.unlock();
}

void LentPages::in_child() noexcept {
  LentPages& me = get();
  for (const Range& range : me.ranges_) {
    if (range.in_child == InChild::copy && make_private(range.begin, range.bytes, Contents::kept)) continue;
    if (range.heap < 0) continue;
    mmap(range.begin, range.bytes, readable, MAP_PRIVATE | MAP_FIXED, range.heap,
         static_cast<off_t>(range.place.offset));
  }
  for (const int end : me.copied_) {
    if (end >= 0) close(end);
  }
  me.ranges_.clear();
  me.note_bounds();
  me.mutex_.unlock();
}

void LentPages::note_bounds() noexcept {
  low_.store(ranges_.empty() ? nullptr : ranges_.front().begin, std::memory_order_relaxed);
  high_.store(ranges_.empty() ? nullptr : ranges_.back().end(), std::memory_order_relaxed);
}

bool LentPages::add(std::span<std::byte> pages, int heap, Location place, InChild in_child,
                    Places& freed) noexcept {
  const Range made{pages.data(), pages.size(), heap, place, in_child};
  const std::lock_guard lock(mutex_);
  if (ranges_.size() >= most_ranges) return false;
  const auto within = [&](const Range& other) {
    return other.begin >= made.begin && other.end() <= made.end();
  };
  for (const Range& other : ranges_) {
    if (other.begin < made.end() && made.begin < other.end() && !within(other)) return false;
  }
  void* const mapped =
      mmap(nullptr, made.bytes, readable, MAP_SHARED, heap, static_cast<off_t>(place.offset));
  if (mapped != MAP_FAILED) std::memcpy(mapped, made.begin, made.bytes);
  if (!move_over(mapped, made.begin, made.bytes)) return false;
  madvise(made.begin, made.bytes, MADV_HUGEPAGE);
  for (const Range& other : ranges_) {
    if (within(other) && other.heap >= 0) freed.push_back(other.place);
  }
  std::erase_if(ranges_, within);
  ranges_.insert(std::upper_bound(ranges_.begin(), ranges_.end(), made,
                                  [](const Range& a, const Range& b) { return a.begin < b.begin; }),
                 made);
  note_bounds();
  return true;
}

bool LentPages::remove(std::span<std::byte> memory, Contents contents, Places& freed) noexcept {
  const std::byte* const end = memory.data() + memory.size();
  const std::lock_guard lock(mutex_);
  bool all = true;
  std::erase_if(ranges_, [&](const Range& range) {
    if (range.begin < memory.data() || range.end() > end) return false;
    if (!make_private(range.begin, range.bytes, contents)) {
      all = false;
      return false;
    }
    if (range.heap >= 0) freed.push_back(range.place);
    return true;
  });
  note_bounds();
  return all;
}

std::optional<Location> LentPages::locate(const void* data, Bytes bytes) const noexcept {
  const auto* at = static_cast<const std::byte*>(data);
  if (at < low_.load(std::memory_order_relaxed) || at >= high_.load(std::memory_order_relaxed)) {
    return std::nullopt;
  }
  const std::lock_guard lock(mutex_);
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), at,
                       [](const std::byte* a, const Range& range) { return a < range.begin; });
  if (after == ranges_.begin()) return std::nullopt;
  const Range& range = *(after - 1);
  if (at >= range.end() || bytes > static_cast<Bytes>(range.end() - at) || range.heap < 0) {
    return std::nullopt;
  }
  return Location{range.place.owner,
                  range.place.offset + static_cast<std::uint64_t>(at - range.begin)};
}

void LentPages::heap_ends() noexcept {
  const std::lock_guard lock(mutex_);
  for (Range& range : ranges_) range.heap = -1;
}

}  // namespace shoal::node_memory
