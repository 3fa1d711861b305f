#include <shoal/runtime/heap.hpp>

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>

namespace shoal {

bool keep_freed_pages() noexcept {
#ifdef __GLIBC__
  static const bool keeps = [] {
    constexpr const char* own[] = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_",
                                   "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"};
    if (std::any_of(std::begin(own), std::end(own),
                    [](const char* name) { return std::getenv(name) != nullptr; })) {
      return false;
    }
    // To set one of the two ends for both that the heap raises them itself.
    constexpr int most_on_heap = 32 << 20, most_spare = 256 << 20;
    return mallopt(M_MMAP_THRESHOLD, most_on_heap) == 1 &&
           mallopt(M_TRIM_THRESHOLD, most_spare) == 1;
  }();
  return keeps;
#else
  return false;
#endif
}

}  // namespace shoal
