// Element types of messages and matrices.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include <shoal/runtime/units.hpp>

namespace shoal {

/// Element type of a buffer: IEEE single, double, bfloat16, IEEE half, signed integers.
enum class DType : std::uint8_t { f32, f64, bf16, f16, i8, i32, i64 };

/// All of them, in the order of the enumeration.
inline constexpr DType all_dtypes[] = {DType::f32, DType::f64, DType::bf16, DType::f16,
                                       DType::i8,  DType::i32, DType::i64};

/// bfloat16: the upper 16 bits of an IEEE single (8 bits of exponent, 7 of mantissa).
struct bfloat16 {
  std::uint16_t bits;
  friend bool operator==(bfloat16, bfloat16) = default;
};

/// IEEE 754 binary16 (5 bits of exponent, 10 of mantissa).
struct float16 {
  std::uint16_t bits;
  friend bool operator==(float16, float16) = default;
};

/// Size of one element.
Bytes size_of(DType type) noexcept;
/// "f32", "bf16", ...
std::string_view name_of(DType type) noexcept;
/// The inverse of name_of; also takes "float32", "float16", "bfloat16", ... Throws UsageError.
DType parse_dtype(std::string_view text);
/// True for f32, f64, bf16, f16.
bool is_floating(DType type) noexcept;

/// Conversions, rounding to nearest, ties to even. NaN stays NaN; overflow gives infinity.
float to_float(bfloat16 value) noexcept;
float to_float(float16 value) noexcept;
bfloat16 to_bfloat16(float value) noexcept;
float16 to_float16(float value) noexcept;

namespace detail {
template <class T>
struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <> struct DTypeOf<bfloat16> { static constexpr DType value = DType::bf16; };
template <> struct DTypeOf<float16> { static constexpr DType value = DType::f16; };
template <> struct DTypeOf<std::int8_t> { static constexpr DType value = DType::i8; };
template <> struct DTypeOf<std::int32_t> { static constexpr DType value = DType::i32; };
template <> struct DTypeOf<std::int64_t> { static constexpr DType value = DType::i64; };
}  // namespace detail

/// The DType of a C++ type: dtype_of<float> == DType::f32.
template <class T>
inline constexpr DType dtype_of = detail::DTypeOf<std::remove_cv_t<T>>::value;

}  // namespace shoal
