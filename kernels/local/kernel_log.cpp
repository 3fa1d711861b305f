#include "kernel_log.hpp"

#include <mutex>
#include <set>
#include <string>

#include <omp.h>

#include <shoal/runtime/log.hpp>

namespace shoal::kernels {

void tell_kernel(std::string_view operation, Trans ta, Trans tb, Index m, Index n, Index k,
                 std::string_view kernel) {
  static const bool wanted = log::wants("kernels");
  if (!wanted) return;
  const int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  const std::string line =
      std::string(operation) + ' ' + (ta == Trans::yes ? 'T' : 'N') + (tb == Trans::yes ? 'T' : 'N') +
      ' ' + std::to_string(m) + 'x' + std::to_string(n) + 'x' + std::to_string(k) + " on " +
      std::to_string(threads) + (threads == 1 ? " thread: " : " threads: ") + std::string(kernel);
  static std::mutex mutex;
  static std::set<std::string> told;
  constexpr std::size_t most_lines = 4096;  // of a program whose shapes never repeat
  {
    const std::lock_guard lock(mutex);
    if (told.size() >= most_lines || !told.insert(line).second) return;
  }
  log::info(line);
}

}  // namespace shoal::kernels
