// Element-wise reductions of any number of inputs into any number of outputs. Compiled once for
// each instruction set.
//
// Bound: memory. With k inputs and j outputs of n bytes, k·n bytes are read and j·n written, no
// more: elements pass through registers, or through a block that stays in the first-level cache.

#include <cstddef>
#include <cstdint>

#include "claim_line.hpp"
#include "reduce_table.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace shoal::reduce_kernels {
namespace SHOAL_SIMD_VARIANT {
namespace {

struct Bf16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};

// What elements of type T are combined in, and how they get there and back.
template <class T>
struct Element {
  using Accumulator = T;
  static T widen(T value) { return value; }
  static T narrow(T value) { return value; }
};

inline float float_from(std::uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

template <>
struct Element<Bf16> {
  using Accumulator = float;
  static float widen(Bf16 value) { return float_from(std::uint32_t{value.bits} << 16); }
  static Bf16 narrow(float value) {
    const std::uint32_t bits = bits_of(value);
    const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const std::uint32_t quiet_nan = (bits >> 16) | 0x40u;
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return {static_cast<std::uint16_t>(is_nan ? quiet_nan : rounded)};
  }
};

template <>
struct Element<F16> {
  using Accumulator = float;
  static float widen(F16 value) {
    // Shifted into place and rescaled by 2^112, subnormals come out right by themselves; infinity
    // and NaN need their exponent filled up.
    const std::uint32_t magnitude = (value.bits & 0x7fffu);
    const float scaled = float_from(magnitude << 13) * 0x1p112f;
    std::uint32_t bits = bits_of(scaled);
    bits |= magnitude >= 0x7c00u ? 0x7f800000u : 0u;
    return float_from(bits | (std::uint32_t{value.bits & 0x8000u} << 16));
  }
  static F16 narrow(float value) {
    const std::uint32_t bits = bits_of(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    const std::uint32_t normal =
        (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    const std::uint32_t tiny = bits_of(float_from(magnitude) + 0.5f) - 0x3f000000u;
    std::uint32_t result = magnitude < 0x38800000u ? tiny : normal;
    result = magnitude >= 0x477ff000u ? 0x7c00u : result;
    result = magnitude > 0x7f800000u ? 0x7e00u : result;
    return {static_cast<std::uint16_t>(sign | result)};
  }
};

// Integers wrap, which only unsigned arithmetic promises.
template <class T>
struct Arithmetic {
  static T add(T a, T b) { return a + b; }
  static T multiply(T a, T b) { return a * b; }
  static T divide(T a, double by) { return static_cast<T>(a / static_cast<T>(by)); }
};
template <class T, class U>
struct Wrapping {
  static T add(T a, T b) { return static_cast<T>(static_cast<U>(a) + static_cast<U>(b)); }
  static T multiply(T a, T b) { return static_cast<T>(static_cast<U>(a) * static_cast<U>(b)); }
  static T divide(T a, double by) { return static_cast<T>(a / static_cast<T>(by)); }
};
template <>
struct Arithmetic<std::int8_t> : Wrapping<std::int8_t, std::uint32_t> {
  // Ranks may outnumber what 8 bits hold.
  static std::int8_t divide(std::int8_t a, double by) {
    return static_cast<std::int8_t>(a / static_cast<int>(by));
  }
};
template <>
struct Arithmetic<std::int32_t> : Wrapping<std::int32_t, std::uint32_t> {};
template <>
struct Arithmetic<std::int64_t> : Wrapping<std::int64_t, std::uint64_t> {};

struct Sum {
  template <class T>
  static T combine(T a, T b) {
    return Arithmetic<T>::add(a, b);
  }
  static constexpr bool averages = false;
};
struct Average : Sum {
  static constexpr bool averages = true;
};
// One of two. GCC 12 makes branches of a choice between numbers that may be NaN, and leaves the loop
// around it to be done element by element (27 times as long as a sum, in the caches): hence by their bits.
template <class T>
T choose(bool first, T a, T b) {
  return first ? a : b;
}
template <class Bits, class T>
T choose_bits(bool first, T a, T b) {
  Bits of_a, of_b;
  __builtin_memcpy(&of_a, &a, sizeof a);
  __builtin_memcpy(&of_b, &b, sizeof b);
  const Bits mask = Bits{0} - static_cast<Bits>(first);
  const Bits bits = (of_a & mask) | (of_b & ~mask);
  __builtin_memcpy(&a, &bits, sizeof a);
  return a;
}
inline float choose(bool first, float a, float b) {
  return choose_bits<std::uint32_t>(first, a, b);
}
inline double choose(bool first, double a, double b) {
  return choose_bits<std::uint64_t>(first, a, b);
}

// A comparison with NaN is false: a NaN in b is taken by it, one in a by the second test.
struct Min {
  template <class T>
  static T combine(T a, T b) {
    return choose((a < b) | (a != a), a, b);
  }
  static constexpr bool averages = false;
};
struct Max {
  template <class T>
  static T combine(T a, T b) {
    return choose((a > b) | (a != a), a, b);
  }
  static constexpr bool averages = false;
};
struct Product {
  template <class T>
  static T combine(T a, T b) {
    return Arithmetic<T>::multiply(a, b);
  }
  static constexpr bool averages = false;
};

#if defined(__x86_64__)
// Copies the usual way up to the first whole line of `out`, if there is one, and says how much that was.
std::size_t copy_to_line(char* out, const char* in, std::size_t bytes) {
  const std::size_t before = -reinterpret_cast<std::uintptr_t>(out) % 64;
  const std::size_t at = before < bytes ? before : bytes;
  __builtin_memcpy(out, in, at);
  return at;
}
#endif

void stream_copy(void* to, const void* from, std::size_t bytes) {
#if defined(__x86_64__)
  auto* out = static_cast<char*>(to);
  const auto* in = static_cast<const char*>(from);
  std::size_t at = copy_to_line(out, in, bytes);
#if defined(__AVX512F__)
  for (; at + 64 <= bytes; at += 64) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(out + at), _mm512_loadu_si512(in + at));
  }
#elif defined(__AVX2__)
  for (; at + 32 <= bytes; at += 32) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(out + at),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + at)));
  }
#else
  for (; at + 16 <= bytes; at += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + at),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + at)));
  }
#endif
  __builtin_memcpy(out + at, in + at, bytes - at);
#else
  __builtin_memcpy(to, from, bytes);
#endif
}

// Lets other cores see what was written past the caches before whatever is written next. It waits until
// the memory has it all: once for a whole piece of work, since after every block of 4 KiB it doubled
// the time of four inputs and outputs.
void order_stream() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// Of 4, 8, 16 and 32 the best (4 ranks of 16 MiB: 2.64, 2.55, 2.52 and 2.49 ms; 4.08 without).
constexpr std::size_t lines_ahead = 32;

void claiming_copy(void* to, const void* from, std::size_t bytes) {
#if defined(__x86_64__)
  auto* out = static_cast<char*>(to);
  const auto* in = static_cast<const char*>(from);
  std::size_t at = copy_to_line(out, in, bytes);
  constexpr std::size_t ahead = lines_ahead * 64;
  for (; at + 64 <= bytes; at += 64) {
    if (at + ahead < bytes) claim_line(out + at + ahead);
    __builtin_memcpy(out + at, in + at, 64);
  }
  __builtin_memcpy(out + at, in + at, bytes - at);
#else
  __builtin_memcpy(to, from, bytes);
#endif
}

// Element i of the reduction of K inputs.
template <class T, class Op, int K>
inline T combined(const T* const* in, std::size_t i, double divisor) {
  using E = Element<T>;
  using A = typename E::Accumulator;
  A value = E::widen(in[0][i]);
#pragma GCC unroll 8
  for (int k = 1; k < K; ++k) value = Op::template combine<A>(value, E::widen(in[k][i]));
  if (Op::averages) value = Arithmetic<A>::divide(value, divisor);
  return E::narrow(value);
}

#if defined(__x86_64__)
// One cache line, past the caches. `to` is aligned to it.
inline void stream_line(void* to, const void* line) {
  auto* out = static_cast<char*>(to);
  const auto* in = static_cast<const char*>(line);
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(out), _mm512_load_si512(in));
#elif defined(__AVX2__)
  for (int at = 0; at < 64; at += 32) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(out + at),
                        _mm256_load_si256(reinterpret_cast<const __m256i*>(in + at)));
  }
#else
  for (int at = 0; at < 64; at += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + at),
                     _mm_load_si128(reinterpret_cast<const __m128i*>(in + at)));
  }
#endif
}

enum class Writing { past_caches, claiming, plain };

// K inputs into J outputs from element `begin` to `end`, which are whole lines; past the caches only to
// outputs that are aligned to lines. A pass over one line at a time keeps the number of lines that wait in
// the write-combining buffers at J.
template <class T, class Op, int K, int J, Writing writing>
void lines(const T* const* in, T* const* out, std::size_t begin, std::size_t end, double divisor) {
  constexpr std::size_t per_line = 64 / sizeof(T);
  for (std::size_t at = begin; at < end; at += per_line) {
    alignas(64) T line[per_line];
    if (writing == Writing::claiming) {
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) claim_line(out[j] + at + lines_ahead * per_line);
    }
#pragma omp simd
    for (std::size_t i = 0; i < per_line; ++i) line[i] = combined<T, Op, K>(in, at + i, divisor);
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) {
      if (writing == Writing::past_caches) {
        stream_line(out[j] + at, line);
      } else {
        __builtin_memcpy(out[j] + at, line, 64);
      }
    }
  }
}
#endif

// K inputs into J outputs, both known when compiled: one pass, nothing but registers between.
template <class T, class Op, int K, int J>
void fixed(const void* const* inputs, void* const* outputs, std::size_t n, double divisor,
           bool stream) {
  const T* in[K];
  T* out[J];
  for (int k = 0; k < K; ++k) in[k] = static_cast<const T*>(inputs[k]);
  for (int j = 0; j < J; ++j) out[j] = static_cast<T*>(outputs[j]);
  std::size_t done = 0;
#if defined(__x86_64__)
  constexpr std::size_t per_line = 64 / sizeof(T);
  const std::size_t whole = n / per_line * per_line;
  done = whole;
  if (stream) {
    lines<T, Op, K, J, Writing::past_caches>(in, out, 0, whole, divisor);
    order_stream();
  } else {
    // No further than the end: what lies there is another rank's to write.
    const std::size_t ahead = lines_ahead * per_line;
    const std::size_t claimed = whole > ahead ? whole - ahead : 0;
    lines<T, Op, K, J, Writing::claiming>(in, out, 0, claimed, divisor);
    lines<T, Op, K, J, Writing::plain>(in, out, claimed, whole, divisor);
  }
#endif
#pragma omp simd
  for (std::size_t i = done; i < n; ++i) {
    const T result = combined<T, Op, K>(in, i, divisor);
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) out[j][i] = result;
  }
}

#if defined(__x86_64__)
// Any number of inputs and outputs past the caches, to which the outputs are aligned; a line at a time, as
// in lines(). (Block by block, with the sums of a block in the first-level cache, four inputs and outputs
// took twice as long.)
template <class T, class Op>
void any_lines(const void* const* inputs, int input_count, void* const* outputs, int output_count,
               std::size_t n, double divisor) {
  using E = Element<T>;
  using A = typename E::Accumulator;
  constexpr std::size_t per_line = 64 / sizeof(T);
  for (std::size_t at = 0; at < n; at += per_line) {
    alignas(64) A sum[per_line];
    alignas(64) T line[per_line];
    const T* first = static_cast<const T*>(inputs[0]) + at;
#pragma omp simd
    for (std::size_t i = 0; i < per_line; ++i) sum[i] = E::widen(first[i]);
    for (int k = 1; k < input_count; ++k) {
      const T* in = static_cast<const T*>(inputs[k]) + at;
#pragma omp simd
      for (std::size_t i = 0; i < per_line; ++i) {
        sum[i] = Op::template combine<A>(sum[i], E::widen(in[i]));
      }
    }
#pragma omp simd
    for (std::size_t i = 0; i < per_line; ++i) {
      line[i] = E::narrow(Op::averages ? Arithmetic<A>::divide(sum[i], divisor) : sum[i]);
    }
    for (int j = 0; j < output_count; ++j) stream_line(static_cast<T*>(outputs[j]) + at, line);
  }
  order_stream();
}
#endif

// Any number of inputs and outputs from element `begin` to `end`, block by block; the block stays in the
// first-level cache.
template <class T, class Op>
void blocked(const void* const* inputs, int input_count, void* const* outputs, int output_count,
             std::size_t begin, std::size_t end, double divisor) {
  using E = Element<T>;
  using A = typename E::Accumulator;
  constexpr std::size_t block = 4096 / sizeof(A);
  alignas(64) A sum[block];
  alignas(64) T result[block];
  for (; begin < end; begin += block) {
    const std::size_t length = end - begin < block ? end - begin : block;
    const T* first = static_cast<const T*>(inputs[0]) + begin;
#pragma omp simd
    for (std::size_t i = 0; i < length; ++i) sum[i] = E::widen(first[i]);
    for (int k = 1; k < input_count; ++k) {
      const T* in = static_cast<const T*>(inputs[k]) + begin;
#pragma omp simd
      for (std::size_t i = 0; i < length; ++i) {
        sum[i] = Op::template combine<A>(sum[i], E::widen(in[i]));
      }
    }
    if (Op::averages) {
#pragma omp simd
      for (std::size_t i = 0; i < length; ++i) sum[i] = Arithmetic<A>::divide(sum[i], divisor);
    }
#pragma omp simd
    for (std::size_t i = 0; i < length; ++i) result[i] = E::narrow(sum[i]);
    for (int j = 0; j < output_count; ++j) {
      __builtin_memcpy(static_cast<T*>(outputs[j]) + begin, result, length * sizeof(T));
    }
  }
}

template <class T, class Op>
void reduce(const void* const* inputs, int input_count, void* const* outputs, int output_count,
            std::size_t n, double divisor, bool stream) {
  const auto is = [&](int in, int out) { return input_count == in && output_count == out; };
  if (is(2, 2)) return fixed<T, Op, 2, 2>(inputs, outputs, n, divisor, stream);
  if (is(4, 4)) return fixed<T, Op, 4, 4>(inputs, outputs, n, divisor, stream);
  if (!stream && is(2, 1)) return fixed<T, Op, 2, 1>(inputs, outputs, n, divisor, false);
  if (!stream && is(3, 2)) return fixed<T, Op, 3, 2>(inputs, outputs, n, divisor, false);
  if (!stream && is(4, 1)) return fixed<T, Op, 4, 1>(inputs, outputs, n, divisor, false);
  if (!stream && is(4, 2)) return fixed<T, Op, 4, 2>(inputs, outputs, n, divisor, false);
  std::size_t done = 0;
#if defined(__x86_64__)
  if (stream) {
    done = n / (64 / sizeof(T)) * (64 / sizeof(T));
    any_lines<T, Op>(inputs, input_count, outputs, output_count, done, divisor);
  }
#endif
  blocked<T, Op>(inputs, input_count, outputs, output_count, done, n, divisor);
}

// A piece is read before any of it is written. The bfloat16 of a number lie before it: from the front
// nothing is overwritten that is still to be read.
constexpr std::size_t converted_together = 32;

void narrow_piece(char* data, std::size_t at, std::size_t n) {
  float wide[converted_together];
  Bf16 narrow[converted_together];
  __builtin_memcpy(wide, data + at * sizeof(float), n * sizeof(float));
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) narrow[i] = Element<Bf16>::narrow(wide[i]);
  __builtin_memcpy(data + at * sizeof(Bf16), narrow, n * sizeof(Bf16));
}

void narrow_from_front(void* data, std::size_t n) {
  auto* bytes = static_cast<char*>(data);
  const std::size_t whole = n / converted_together * converted_together;
  for (std::size_t at = 0; at < whole; at += converted_together) {
    narrow_piece(bytes, at, converted_together);
  }
  if (n > whole) narrow_piece(bytes, whole, n - whole);
}

void widen_piece(char* data, std::size_t at, std::size_t n) {
  float wide[converted_together];
  Bf16 narrow[converted_together];
  __builtin_memcpy(narrow, data + at * sizeof(Bf16), n * sizeof(Bf16));
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) wide[i] = Element<Bf16>::widen(narrow[i]);
  __builtin_memcpy(data + at * sizeof(float), wide, n * sizeof(float));
}

// From the end, for the same reason.
void widen_from_end(void* data, std::size_t begin, std::size_t n) {
  auto* bytes = static_cast<char*>(data);
  const std::size_t whole = n / converted_together * converted_together;
  if (n > whole) widen_piece(bytes, begin + whole, n - whole);
  for (std::size_t at = whole; at > 0; at -= converted_together) {
    widen_piece(bytes, begin + at - converted_together, converted_together);
  }
}

#define SHOAL_REDUCE_ROW(T) \
  { reduce<T, Sum>, reduce<T, Min>, reduce<T, Max>, reduce<T, Product>, reduce<T, Average> }

}  // namespace

const Table table = {{SHOAL_REDUCE_ROW(float), SHOAL_REDUCE_ROW(double), SHOAL_REDUCE_ROW(Bf16),
                      SHOAL_REDUCE_ROW(F16), SHOAL_REDUCE_ROW(std::int8_t),
                      SHOAL_REDUCE_ROW(std::int32_t), SHOAL_REDUCE_ROW(std::int64_t)},
                     stream_copy, order_stream, claiming_copy, narrow_from_front, widen_from_end};

}  // namespace SHOAL_SIMD_VARIANT
}  // namespace shoal::reduce_kernels
