#include "packing_room.hpp"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <shoal/runtime/heap.hpp>

namespace shoal::kernels {
namespace {

constexpr std::size_t mebibyte = 1 << 20;
constexpr std::size_t most_room = 28 * mebibyte;
constexpr std::size_t huge_page = 2 * mebibyte;

// Takes a block, has the system find its pages, and gives it back to the heap of this thread.
void warm(std::size_t bytes) {
  void* const block = std::malloc(bytes);
  if (block == nullptr) return;
  const auto begin =
      (reinterpret_cast<std::uintptr_t>(block) + huge_page - 1) / huge_page * huge_page;
  const auto end = (reinterpret_cast<std::uintptr_t>(block) + bytes) / huge_page * huge_page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  std::memset(block, 0, bytes);
  // A compiler that sees nobody read the block would leave all of this out.
  asm volatile("" : : "r"(block) : "memory");
  std::free(block);
}

thread_local std::size_t warmed = 0;  // bytes, of this thread's heap

}  // namespace

void warm_packing_room(Index m, Index n, Index k) {
  constexpr Index worthwhile = Index{1} << 27;  // multiply-adds: a millisecond and a half
  if (m * n < worthwhile / std::max<Index>(k, 1)) return;
  if (!keep_freed_pages()) return;
  const int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  // Measured: four blocks of 3.6 MiB at m + n = 3072, of 6.6 at 6144, in one thread and each of
  // two. More threads have less to pack each.
  const auto packed = static_cast<std::size_t>(m + n) * 6 * 1024;
  const auto operands = static_cast<std::size_t>(m * k + k * n + m * n) * sizeof(float);
  const std::size_t room =
      std::min({most_room, packed, 2 * operands / static_cast<std::size_t>(threads)});
  // The threads that come now and those of the last call need not be the same; each knows of
  // itself. The caller, who has been one of any team so far, answers for all where the team is as
  // large as it was.
  static thread_local int asked_threads = 0;
  if (warmed >= room && asked_threads >= threads) return;
  asked_threads = std::max(asked_threads, threads);
#pragma omp parallel num_threads(threads)
  if (warmed < room) {
    warm(room);
    warmed = room;
  }
}

}  // namespace shoal::kernels
