#include "reduce/reduce.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include <shoal/runtime/cores.hpp>
#include <shoal/runtime/isa.hpp>

#include "exact/exact.hpp"
#include "reduce/reduce_table.hpp"
#include "tuning/parameters.hpp"

namespace shoal {
namespace {

const reduce_kernels::Table& table() {
  static const reduce_kernels::Table& chosen = []() -> const reduce_kernels::Table& {
    switch (selected_isa()) {
#if defined(SHOAL_SIMD_HAS_AVX512)
      case Isa::avx512: return reduce_kernels::avx512::table;
#endif
#if defined(SHOAL_SIMD_HAS_AVX2)
      case Isa::avx2: return reduce_kernels::avx2::table;
#endif
      default: return reduce_kernels::baseline::table;
    }
  }();
  return chosen;
}

bool on_cache_line(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 64 == 0;
}

}  // namespace

Bytes stream_threshold() {
  // Written into the caches, a result is soon read from there; but once a call touches more than they
  // hold, every line written is first read and later written back. Of the third level count what
  // a core has for its own: virtual machines report that of the whole processor, hence the cap
  // (measured on Zen 5, where in the caches 4 MiB take 0.18 ms, past them 0.25; 8 MiB 0.75 and 0.69).
  // That of Intel's large processors lies behind a mesh, no quicker to write than the memory (Sapphire
  // Rapids: 1 MiB 0.04 ms in the second level, 0.045 past it; 2 MiB 0.14 and 0.11; 4 MiB alike).
  if (const Bytes measured = parameter(Parameter::stream_bytes); measured != 0) return measured;
  static const Bytes threshold = [] {
    constexpr Bytes most = 8 << 20;
    const long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    const long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
    const long cores = sysconf(_SC_NPROCESSORS_CONF);
    const Bytes own = l2 > 0 ? static_cast<Bytes>(l2) : Bytes{1} << 20;
#if defined(__x86_64__)
    if (__builtin_cpu_is("intel")) return 2 * own;
#endif
    const Bytes share = l3 > 0 && cores > 0 ? static_cast<Bytes>(l3 / cores) : 0;
    return own + std::clamp(share, own, std::max(own, most));
  }();
  return threshold;
}

bool outgrows_caches(Bytes bytes, int ranks) {
  const int threads = node_threads();
  return bytes * static_cast<Bytes>((ranks + threads - 1) / threads) >= stream_threshold();
}

void reduce_elements(const void* const* inputs, int input_count, void* const* outputs,
                     int output_count, Index count, DType type, ReduceOp op, int ranks,
                     bool stream) {
  if (count == 0) return;
  stream = stream && std::all_of(outputs, outputs + output_count, on_cache_line);
  if (is_exact(op)) {
    return reduce_exactly(inputs, input_count, outputs, output_count, count, type, op, ranks,
                          stream);
  }
  table().reduce[static_cast<int>(type)][static_cast<int>(op)](
      inputs, input_count, outputs, output_count, static_cast<std::size_t>(count), ranks, stream);
}

void reduce_into(void* into, const void* from, Index count, DType type, ReduceOp op) {
  if (op == ReduceOp::avg) op = ReduceOp::sum;
  const void* inputs[] = {into, from};
  void* outputs[] = {into};
  reduce_elements(inputs, 2, outputs, 1, count, type, op, 1, false);
}

void finish_average(void* data, Index count, DType type, ReduceOp op, int ranks) {
  if (op != ReduceOp::avg) return;
  const void* inputs[] = {data};
  void* outputs[] = {data};
  reduce_elements(inputs, 1, outputs, 1, count, type, op, ranks, false);
}

void copy_elements(void* to, const void* from, Bytes bytes) {
  copy_piece(to, from, bytes, 2 * bytes >= stream_threshold());
}

void copy_piece(void* to, const void* from, Bytes bytes, bool stream) {
  if (bytes == 0 || to == from) return;
  if (stream) {
    table().stream_copy(to, from, bytes);
    table().order_stream();
  } else {
    std::memcpy(to, from, bytes);
  }
}

void stream_piece(void* to, const void* from, Bytes bytes) {
  if (bytes > 0 && to != from) table().stream_copy(to, from, bytes);
}

void order_stream() { table().order_stream(); }

}  // namespace shoal
