// A loop of fused multiply-adds and one of loads, for each instruction set.
#pragma once

namespace shoal::bench {

/// Runs `rounds` rounds; returns the number of floating-point operations of a round. `sink` gets a
/// number that depends on all of them.
using FmaLoop = double(long rounds, float* sink);

/// Reads `count` blocks of 512 bytes; returns a number that depends on all of them.
using ReadLoop = unsigned(const void* blocks, long count);

namespace baseline {
FmaLoop fma_loop;
ReadLoop read_loop;
}
namespace avx2 {
FmaLoop fma_loop;
ReadLoop read_loop;
}
namespace avx512 {
FmaLoop fma_loop;
ReadLoop read_loop;
}

}  // namespace shoal::bench
