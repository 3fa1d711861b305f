// An affinity mask for as many processors as any machine has.
#pragma once

#include <sched.h>

#include <cstddef>
#include <memory>

namespace shoal::launch {

class ProcessorMask {
 public:
  static constexpr int most = 8192;  ///< processors; the kernel wants a bound

  ProcessorMask() { CPU_ZERO_S(bytes, set_.get()); }

  bool has(int cpu) const { return CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, set_.get()); }
  void add(int cpu) { CPU_SET_S(static_cast<std::size_t>(cpu), bytes, set_.get()); }
  int count() const { return CPU_COUNT_S(bytes, set_.get()); }

  /// Of and for this process; false, with errno, if the kernel refuses.
  bool read() { return sched_getaffinity(0, bytes, set_.get()) == 0; }
  bool apply() const { return sched_setaffinity(0, bytes, set_.get()) == 0; }

 private:
  static constexpr std::size_t bytes = CPU_ALLOC_SIZE(most);
  struct Free {
    void operator()(cpu_set_t* set) const { CPU_FREE(set); }
  };
  std::unique_ptr<cpu_set_t, Free> set_{CPU_ALLOC(most)};
};

}  // namespace shoal::launch
