#include <shoal/runtime/dtype.hpp>

#include <bit>
#include <string>

#include <shoal/runtime/error.hpp>

namespace shoal {

Bytes size_of(DType type) noexcept {
  switch (type) {
    case DType::f64:
    case DType::i64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::bf16:
    case DType::f16: return 2;
    case DType::i8: return 1;
  }
  return 0;
}

std::string_view name_of(DType type) noexcept {
  switch (type) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::i8: return "i8";
    case DType::i32: return "i32";
    case DType::i64: return "i64";
  }
  return "?";
}

DType parse_dtype(std::string_view text) {
  static constexpr struct {
    std::string_view name;
    DType type;
  } names[] = {{"fp32", DType::f32},     {"float32", DType::f32}, {"fp64", DType::f64},
               {"float64", DType::f64},  {"bfloat16", DType::bf16}, {"fp16", DType::f16},
               {"float16", DType::f16},  {"int8", DType::i8},     {"int32", DType::i32},
               {"int64", DType::i64}};
  for (const DType type : all_dtypes) {
    if (text == name_of(type)) return type;
  }
  for (const auto& entry : names) {
    if (text == entry.name) return entry.type;
  }
  throw UsageError("data type", "unknown name '" + std::string(text) + "'",
                   "use f32, f64, bf16, f16, i8, i32 or i64");
}

bool is_floating(DType type) noexcept {
  return type == DType::f32 || type == DType::f64 || type == DType::bf16 || type == DType::f16;
}

float to_float(bfloat16 value) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

bfloat16 to_bfloat16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  // A NaN keeps its sign and stays quiet; rounding could carry its mantissa into infinity.
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  }
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

float to_float(float16 value) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = value.bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  // Subnormal: mantissa · 2^-24, exact in single precision.
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

float16 to_float16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) {
    // Adding 0.5 puts units of 2^-24 in the last place: the hardware rounds to half's subnormals.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    const auto rounded = std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u;
    return {static_cast<std::uint16_t>(sign | rounded)};
  }
  const std::uint32_t rounded = magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<std::uint16_t>(sign | (rounded >> 13))};
}

}  // namespace shoal
