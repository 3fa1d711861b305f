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

Bytes second_level() {
  const long size = sysconf(_SC_LEVEL2_CACHE_SIZE);
  return size > 0 ? static_cast<Bytes>(size) : Bytes{1} << 20;
}

// Of the third level, what a core has for its own. Virtual machines report that of the whole processor.
Bytes third_level_share() {
  const long size = sysconf(_SC_LEVEL3_CACHE_SIZE);
  const long cores = sysconf(_SC_NPROCESSORS_CONF);
  return size > 0 && cores > 0 ? static_cast<Bytes>(size / cores) : 0;
}

// From here on the third level holds too little. Where it lies behind a mesh (Intel), results that are still
// there cost less than those in memory: two ranks on Sapphire Rapids, all-reduce of 16 MiB in shared
// memory 1.14 ms through the caches and 1.22 past them, by way of stages 2.5 and 2.9; of 32 MiB 2.4
// and 2.5, 6.3 and 5.8.
Bytes third_level_threshold() {
  if (parameter(Parameter::stream_bytes) != 0 || !claims_lines()) return stream_threshold();
  constexpr Bytes most = 48 << 20;
  static const Bytes threshold =
      std::max(stream_threshold(), second_level() + std::min(third_level_share(), most));
  return threshold;
}

// What `ranks` ranks of this node that touch `bytes` each touch on a core that several of them share.
Bytes touched_on_core(Bytes bytes, int ranks) {
  const int threads = node_threads();
  return bytes * static_cast<Bytes>((ranks + threads - 1) / threads);
}

}  // namespace

Bytes stream_threshold() {
  // Written into the caches, a result is soon read from there; but once a call touches more than they
  // hold, every line written is first read and later written back. Of the third level a core's share
  // counts, with a cap for virtual machines (measured on Zen 5: in the caches 4 MiB take 0.18 ms, past
  // them 0.25; 8 MiB 0.75 and 0.69).
  // That of Intel's large processors lies behind a mesh: third_level_threshold().
  if (const Bytes measured = parameter(Parameter::stream_bytes); measured != 0) return measured;
  static const Bytes threshold = [] {
    const Bytes own = second_level();
    if (claims_lines()) return 2 * own;
    constexpr Bytes most = 8 << 20;
    return own + std::clamp(third_level_share(), own, std::max(own, most));
  }();
  return threshold;
}

bool outgrows_caches(Bytes bytes, int ranks) {
  const Bytes touched = touched_on_core(bytes, ranks);
  if (touched < stream_threshold()) return false;
  // Past the caches, too, where the inputs fit the second level if the results stay out of it (two ranks,
  // 2 MiB: 0.114 ms, 0.14 through the caches).
  return touched <= 2 * second_level() || touched >= third_level_threshold();
}

bool copies_outgrow_caches(Bytes bytes, int ranks) {
  return touched_on_core(bytes, ranks) >= third_level_threshold();
}

bool claims_lines() {
#if defined(__x86_64__)
  static const bool intel = __builtin_cpu_is("intel");
  return intel;
#else
  return false;
#endif
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
  } else if (bytes >= 1024 && claims_lines()) {
    table().claiming_copy(to, from, bytes);
  } else {
    std::memcpy(to, from, bytes);
  }
}

void stream_piece(void* to, const void* from, Bytes bytes) {
  if (bytes > 0 && to != from) table().stream_copy(to, from, bytes);
}

void order_stream() { table().order_stream(); }

}  // namespace shoal
