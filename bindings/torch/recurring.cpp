#include "recurring.hpp"

#include <sys/mman.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <mutex>
#include <string>

#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/settings.hpp>

#include "blocks.hpp"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1; earlier ones refuse it, and their khugepaged comes by later
#endif

namespace shoal::torch_backend {
namespace {

constexpr Bytes worth_huge_pages = 4 << 20;
constexpr std::uintptr_t huge_page = 2 << 20;

struct Seen {
  void* data = nullptr;
  Bytes bytes = 0;
  std::uint64_t times = 0;
};

// MADV_COLLAPSE makes them even where the administrator has said never.
bool system_lets_us() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string line;
  return std::getline(file, line) && line.find("[never]") == std::string::npos;
}

// How often it has come, this time included. Of the many that never come again the oldest are
// forgotten.
std::uint64_t times_seen(void* data, Bytes bytes) {
  static std::mutex mutex;
  static std::array<Seen, 64> table;
  static std::size_t oldest = 0;
  const std::scoped_lock lock(mutex);
  for (Seen& seen : table) {
    if (seen.data == data && seen.bytes == bytes) return ++seen.times;
  }
  table[oldest++ % table.size()] = {data, bytes, 1};
  return 1;
}

}  // namespace

void help_if_it_recurs(void* data, Bytes bytes) noexcept {
  if (bytes < least_recurring || node_memory::locate(data)) return;
  if (settings().torch_lend && Blocks::get().lend_if_it_recurs(data, bytes)) return;
  if (bytes < worth_huge_pages) return;
  static const bool allowed = system_lets_us();
  if (!allowed) return;
  // Asked for ever more seldom: at the same address there may be other memory by now.
  const std::uint64_t times = times_seen(data, bytes);
  if (times < 2 || !std::has_single_bit(times)) return;
  const auto at = reinterpret_cast<std::uintptr_t>(data);
  // Whole ones within the buffer: the memory around it is not ours, and it does not get larger.
  const std::uintptr_t begin = (at + huge_page - 1) / huge_page * huge_page;
  const std::uintptr_t end = (at + static_cast<std::uintptr_t>(bytes)) / huge_page * huge_page;
  if (begin >= end || madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE) != 0)
    return;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_COLLAPSE);
}

}  // namespace shoal::torch_backend
