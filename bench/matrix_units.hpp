// Loops of the instructions that multiply matrices of bfloat16 and of bytes, in registers.
#pragma once

namespace shoal::bench {

/// Runs `rounds` rounds of AVX-512's dot product of bfloat16, or of bytes; returns the number of
/// operations of a round, or 0, at once, where the processor does not have it.
double bf16_dot_loop(long rounds);
double int8_dot_loop(long rounds);

}  // namespace shoal::bench
