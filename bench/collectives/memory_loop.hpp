// A plain loop over memory, for each instruction set: what collectives within a node are measured by.
#pragma once

#include <cstddef>

namespace shoal::bench {

/// Reads `bytes`, a multiple of 64, at each of `in_count` addresses and writes the sums (of words of 32
/// bits, so that every input is used) at each of `out_count`; `past`: with stores past the caches, for
/// which the outputs must lie on cache lines.
using MemoryLoop = void(const std::byte* const* in, int in_count, std::byte* const* out,
                        int out_count, std::size_t bytes, bool past);

namespace baseline {
MemoryLoop memory_loop;
}
namespace avx2 {
MemoryLoop memory_loop;
}
namespace avx512 {
MemoryLoop memory_loop;
}

}  // namespace shoal::bench
