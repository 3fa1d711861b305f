#include "reduce/reduce.hpp"

#include <algorithm>
#include <cstring>

#include <shoal/collectives/caches.hpp>
#include <shoal/collectives/narrow.hpp>
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

// A copy by itself, whose result may be read soon: so long that it fills the second level twice, or where the
// third is near, that and a fair part of it.
Bytes lone_copy_bytes() {
  const Caches& caches = caches_here();
  if (caches.claims) return caches.second;
  return (caches.second + std::clamp(caches.third / 2, caches.second, Bytes{8} << 20)) / 2;
}

}  // namespace

bool outgrows_caches(Bytes bytes, int ranks) {
  const Bytes measured = parameter(Parameter::stream_bytes);
  if (measured != 0) return bytes_on_core(bytes, ranks, node_threads()) >= measured;
  return sums_go_past(caches_here(), bytes, ranks, node_threads());
}

bool copies_outgrow_caches(Bytes bytes, int ranks) {
  const Bytes measured = parameter(Parameter::stage_stream_bytes);
  if (measured != 0) return bytes_on_core(bytes, ranks, node_threads()) >= measured;
  return copies_go_past(caches_here(), bytes, ranks, node_threads());
}

bool claims_lines() { return caches_here().claims; }

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

void narrow_in_place(float* data, Index count) {
  table().narrow(data, static_cast<std::size_t>(count));
}

void widen_in_place(float* data, Index begin, Index count) {
  table().widen(data, static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
}

void copy_elements(void* to, const void* from, Bytes bytes) {
  copy_piece(to, from, bytes, bytes >= lone_copy_bytes());
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
