// Asking for a cache line that is going to be written. For files that are compiled once for each instruction
// set, too: hence no function of its own in any of them.
#pragma once

namespace shoal {

/// Not __builtin_prefetch: without -mprfchw that asks for a line that will be read, and one that another
/// core has written must then be fetched twice.
[[gnu::always_inline]] inline void claim_line(const void* line) noexcept {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
  __builtin_prefetch(line, 1);
#endif
}

}  // namespace shoal
