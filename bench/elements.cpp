#include "elements.hpp"

#include <algorithm>
#include <cmath>

namespace shoal::bench {
namespace {

template <class T>
T& at(void* data, Index index) {
  return static_cast<T*>(data)[index];
}
template <class T>
const T& at(const void* data, Index index) {
  return static_cast<const T*>(data)[index];
}

}  // namespace

double element(const void* data, Index index, DType type) {
  switch (type) {
    case DType::f32: return at<float>(data, index);
    case DType::f64: return at<double>(data, index);
    case DType::bf16: return to_float(at<bfloat16>(data, index));
    case DType::f16: return to_float(at<float16>(data, index));
    case DType::i8: return at<std::int8_t>(data, index);
    case DType::i32: return at<std::int32_t>(data, index);
    case DType::i64: return static_cast<double>(at<std::int64_t>(data, index));
  }
  return 0;
}

void set_element(void* data, Index index, DType type, double value) {
  switch (type) {
    case DType::f32: at<float>(data, index) = static_cast<float>(value); break;
    case DType::f64: at<double>(data, index) = value; break;
    case DType::bf16: at<bfloat16>(data, index) = to_bfloat16(static_cast<float>(value)); break;
    case DType::f16: at<float16>(data, index) = to_float16(static_cast<float>(value)); break;
    case DType::i8: at<std::int8_t>(data, index) = static_cast<std::int8_t>(value); break;
    case DType::i32: at<std::int32_t>(data, index) = static_cast<std::int32_t>(value); break;
    case DType::i64: at<std::int64_t>(data, index) = static_cast<std::int64_t>(value); break;
  }
}

double test_value(Rank rank, Index index) {
  // Ranks beyond the sixth give 1: a product stays within an int8, a sum of many ranks within the
  // whole numbers that bf16 has.
  return rank < 6 ? static_cast<double>(1 + ((rank + index) & 1)) : 1.0;
}

double expected_value(int ranks, Index index, DType type, ReduceOp op) {
  double result = test_value(0, index);
  for (Rank rank = 1; rank < ranks; ++rank) {
    const double value = test_value(rank, index);
    switch (op) {
      case ReduceOp::sum:
      case ReduceOp::avg: result += value; break;
      case ReduceOp::min: result = std::min(result, value); break;
      case ReduceOp::max: result = std::max(result, value); break;
      case ReduceOp::prod: result *= value; break;
    }
  }
  if (op != ReduceOp::avg) return result;
  result /= ranks;
  return is_floating(type) ? result : std::trunc(result);
}

double tolerance(DType type, double value) {
  const double unit = type == DType::bf16  ? 0x1p-8
                      : type == DType::f16 ? 0x1p-11
                      : type == DType::f32 ? 0x1p-23
                      : type == DType::f64 ? 0x1p-52
                                           : 0;
  return 2 * unit * std::abs(value);
}

}  // namespace shoal::bench
