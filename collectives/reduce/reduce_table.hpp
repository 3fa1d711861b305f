// The vectorised reductions of one instruction set. Plain types only: see cmake/ShoalSimd.cmake.
#pragma once

#include <cstddef>

namespace shoal::reduce_kernels {

/// outputs[0..output_count) = reduction of inputs[0..input_count), n elements each, combined in the
/// order of the inputs. An output may be one of the inputs. `divisor`: what an average divides by.
/// `stream`: write past the caches (for data that outgrows them); needs outputs aligned to 64 bytes.
using Reduce = void (*)(const void* const* inputs, int input_count, void* const* outputs,
                        int output_count, std::size_t n, double divisor, bool stream);

/// By DType, then by ReduceOp, in the order of their enumerations.
struct Table {
  Reduce reduce[7][5];
  /// Writes past the caches; order_stream() makes it seen before what is written later.
  void (*stream_copy)(void* to, const void* from, std::size_t bytes);
  void (*order_stream)();
  /// Asks for the lines of `to` ahead, for who writes what others have read.
  void (*claiming_copy)(void* to, const void* from, std::size_t bytes);
  /// narrow_in_place() and widen_in_place() of narrow.hpp.
  void (*narrow)(void* data, std::size_t n);
  void (*widen)(void* data, std::size_t begin, std::size_t n);
};

namespace baseline {
extern const Table table;
}
namespace avx2 {
extern const Table table;
}
namespace avx512 {
extern const Table table;
}

}  // namespace shoal::reduce_kernels
