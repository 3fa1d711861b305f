#include <shoal/collectives/caches.hpp>

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace shoal {
namespace {

// Of the ranks around one third level, how many threads.
int around_third(const Caches& caches, int ranks, int threads) noexcept {
  return std::clamp(caches.third_threads, 1, std::max(1, std::min(ranks, threads)));
}

bool here_is_intel() {
#if defined(__x86_64__)
  return __builtin_cpu_is("intel") != 0;
#else
  return false;
#endif
}

std::string first_word(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// "32768K"; 0 if it is none.
Bytes size_in(const std::string& text) {
  std::istringstream in(text);
  Bytes value = 0;
  char unit = ' ';
  in >> value >> unit;
  return unit == 'K' ? value << 10 : unit == 'M' ? value << 20 : value;
}

// How many there are in "0-7,64-71"; 0 if it is none.
int count_in(const std::string& text) {
  std::istringstream in(text);
  int count = 0;
  int first = 0;
  while (in >> first) {
    int last = first;
    if (in.peek() == '-') {
      in.get();
      if (!(in >> last) || last < first) return 0;
    }
    count += last - first + 1;
    if (in.peek() == ',') in.get();
  }
  return count;
}

Caches find_caches() {
  Caches caches;
  caches.claims = here_is_intel();
  if (const long size = sysconf(_SC_LEVEL2_CACHE_SIZE); size > 0) {
    caches.second = static_cast<Bytes>(size);
  }
  const int threads = static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_CONF)));
  const std::string third = "/sys/devices/system/cpu/cpu0/cache/index3/";
  caches.third = size_in(first_word(third + "size"));
  caches.third_threads = count_in(first_word(third + "shared_cpu_list"));
  // Intel's belongs to all cores of a socket; a virtual machine may give each of its processors one.
  if (caches.claims && caches.third_threads <= 2) caches.third_threads = threads;
  const bool shown = caches.third != 0 && caches.third_threads != 0;
  if (!shown) {
    // The C library says how much the whole processor has. AMD's have that in complexes of eight cores.
    caches.third = static_cast<Bytes>(std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE)));
    constexpr int complex_threads = 8;
    caches.third_threads = caches.claims ? threads : std::min(threads, complex_threads);
  }
  // Nobody has all of a third level that guests of a machine share: of a socket's 96 MiB are as
  // many as two ranks were seen to use; of a complex of 32 MiB that the kernel does not show, less
  // than half: what takes 16 MiB, an all-reduce of 4 MiB over two ranks, is sooner done past the
  // caches (107 µs, within 119).
  if (caches.claims) caches.third = std::min(caches.third, Bytes{96} << 20);
  else if (!shown)
    caches.third = std::min(caches.third, Bytes{12} << 20);
  return caches;
}

}  // namespace

const Caches& caches_here() {
  static const Caches caches = find_caches();
  return caches;
}

Bytes bytes_on_core(Bytes touched, int ranks, int threads) noexcept {
  return touched * static_cast<Bytes>((ranks + threads - 1) / threads);
}

bool outgrow_caches(const Caches& caches, Bytes touched, int ranks, int threads) noexcept {
  const auto around = static_cast<Bytes>(around_third(caches, ranks, threads));
  return around * bytes_on_core(touched, ranks, threads) >= around * caches.second + caches.third;
}

bool sums_go_past(const Caches& caches, Bytes touched, int ranks, int threads) noexcept {
  if (outgrow_caches(caches, touched, ranks, threads)) return true;
  return caches.claims && bytes_on_core(touched, ranks, threads) == 2 * caches.second;
}

bool copies_go_past(const Caches& caches, Bytes touched, int ranks, int threads) noexcept {
  return outgrow_caches(caches, touched, ranks, threads);
}

}  // namespace shoal
