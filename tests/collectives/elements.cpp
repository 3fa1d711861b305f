#include "elements.hpp"

#include <mpi.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include <shoal/runtime/mpi_interop.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

namespace shoal::testing {
namespace {

template <class T>
T read(const void* data, Index index) {
  T value;
  std::memcpy(&value, static_cast<const std::byte*>(data) + index * Index{sizeof(T)}, sizeof(T));
  return value;
}

template <class T>
void write(void* data, Index index, T value) {
  std::memcpy(static_cast<std::byte*>(data) + index * Index{sizeof(T)}, &value, sizeof(T));
}

// ε of the type: half of it is the largest relative error of one rounding.
double epsilon(DType type) {
  switch (type) {
    case DType::f32: return std::numeric_limits<float>::epsilon();
    case DType::f64: return std::numeric_limits<double>::epsilon();
    case DType::bf16: return 0x1p-7;
    case DType::f16: return 0x1p-10;
    default: return 0;
  }
}

std::int64_t wrapped(std::uint64_t value, DType type) {
  switch (type) {
    case DType::i8: return static_cast<std::int8_t>(value);
    case DType::i32: return static_cast<std::int32_t>(value);
    default: return static_cast<std::int64_t>(value);
  }
}

Number combine(const Number& a, const Number& b, ReduceOp op, DType type) {
  const auto x = static_cast<std::uint64_t>(a.integer);
  const auto y = static_cast<std::uint64_t>(b.integer);
  switch (op) {
    case ReduceOp::min:
      return {std::min(a.integer, b.integer),
              std::isnan(a.real) || std::isnan(b.real) ? NAN : std::min(a.real, b.real)};
    case ReduceOp::max:
      return {std::max(a.integer, b.integer),
              std::isnan(a.real) || std::isnan(b.real) ? NAN : std::max(a.real, b.real)};
    case ReduceOp::prod: return {wrapped(x * y, type), a.real * b.real};
    case ReduceOp::sum:
    case ReduceOp::avg: break;
  }
  return {wrapped(x + y, type), a.real + b.real};
}

}  // namespace

Number get(const void* data, Index index, DType type) {
  switch (type) {
    case DType::f32: return {0, read<float>(data, index)};
    case DType::f64: return {0, read<double>(data, index)};
    case DType::bf16: return {0, to_float(read<bfloat16>(data, index))};
    case DType::f16: return {0, to_float(read<float16>(data, index))};
    case DType::i8: return {read<std::int8_t>(data, index), 0};
    case DType::i32: return {read<std::int32_t>(data, index), 0};
    case DType::i64: return {read<std::int64_t>(data, index), 0};
  }
  return {};
}

void set(void* data, Index index, DType type, const Number& value) {
  switch (type) {
    case DType::f32: return write(data, index, static_cast<float>(value.real));
    case DType::f64: return write(data, index, value.real);
    case DType::bf16: return write(data, index, to_bfloat16(static_cast<float>(value.real)));
    case DType::f16: return write(data, index, to_float16(static_cast<float>(value.real)));
    case DType::i8: return write(data, index, static_cast<std::int8_t>(value.integer));
    case DType::i32: return write(data, index, static_cast<std::int32_t>(value.integer));
    case DType::i64: return write(data, index, value.integer);
  }
}

Elements::Elements(Index count, DType type, Memory memory, Index shift)
    : count_(count),
      type_(type),
      shift_(shift),
      storage_(static_cast<Bytes>(count + shift) * size_of(type) + margin_bytes(), memory) {
  poison();
}

void* Elements::at(Index index) const {
  return storage_.data() + static_cast<Bytes>(shift_ + index) * size_of(type_);
}

void Elements::poison() {
  std::fill_n(storage_.data(), storage_.bytes(), std::byte{0xa5});
}

void Elements::fill(std::mt19937_64& from) {
  std::uniform_real_distribution<double> size(0.5, 1.5);
  for (Index i = 0; i < count_; ++i) {
    const std::uint64_t bits = from();
    set(at(i), 0, type_,
        {static_cast<std::int64_t>(bits), (bits & 1 ? 1.0 : -1.0) * size(from)});
  }
}

void Elements::copy_from(const Elements& other) {
  const Bytes bytes = static_cast<Bytes>(count_) * size_of(type_);
  if (bytes > 0) std::memcpy(at(0), other.at(0), bytes);
}

bool Elements::margin_intact() const {
  const auto* end = static_cast<const std::byte*>(at(count_));
  return std::all_of(end, end + margin_bytes(), [](std::byte b) { return b == std::byte{0xa5}; });
}

std::uint64_t Elements::hash(std::uint64_t hash) const {
  const auto* data = static_cast<const unsigned char*>(at(0));
  for (Bytes i = 0; i < static_cast<Bytes>(count_) * size_of(type_); ++i) {
    hash = (hash ^ data[i]) * 0x100000001b3u;
  }
  return hash;
}

std::vector<Elements> inputs_of_all(int ranks, Index count, DType type) {
  std::vector<Elements> inputs;
  for (Rank rank = 0; rank < ranks; ++rank) {
    // Not by the name of the test, as generator() does: inputs may be kept for the next.
    const std::uint64_t parts[] = {seed(), static_cast<std::uint64_t>(rank),
                                   static_cast<std::uint64_t>(count)};
    std::seed_seq sequence{parts[0], parts[0] >> 32, parts[1], parts[2], parts[2] >> 32};
    std::mt19937_64 from(sequence);
    inputs.emplace_back(count, type).fill(from);
  }
  return inputs;
}

Expected expected(const std::vector<Elements>& inputs, Index index, ReduceOp op) {
  const DType type = inputs[0].type();
  const auto ranks = static_cast<double>(inputs.size());
  Number value = inputs[0][index];
  double magnitude = std::abs(value.real);
  for (std::size_t rank = 1; rank < inputs.size(); ++rank) {
    const Number term = inputs[rank][index];
    value = combine(value, term, op, type);
    magnitude += std::abs(term.real);
  }
  if (op == ReduceOp::avg) {
    value.integer /= static_cast<std::int64_t>(inputs.size());
    value.real /= ranks;
    magnitude /= ranks;
  }
  if (op == ReduceOp::min || op == ReduceOp::max) return {value, 0};
  if (op == ReduceOp::prod) magnitude = std::abs(value.real);
  return {value, (ranks + 1) * epsilon(type) * magnitude};
}

std::vector<Expected> expected(const std::vector<Elements>& inputs, ReduceOp op) {
  std::vector<Expected> all;
  for (Index i = 0; i < inputs[0].count(); ++i) all.push_back(expected(inputs, i, op));
  return all;
}

namespace {

// Whether every element of `got` is what `wanted` says of it.
template <class Wanted>
::testing::AssertionResult all_within(const Elements& got, Index count, Wanted&& wanted) {
  for (Index i = 0; i < count; ++i) {
    const Number value = got[i];
    const Expected want = wanted(i);
    const bool good = value.integer == want.value.integer &&
                      (std::isnan(want.value.real)
                           ? std::isnan(value.real)
                           : value.real == want.value.real ||
                                 std::abs(value.real - want.value.real) <= want.tolerance);
    if (good) continue;
    return ::testing::AssertionFailure()
           << "element " << i << " of " << count << " is " << value.real << " / " << value.integer
           << ", not " << want.value.real << " ± " << want.tolerance << " / " << want.value.integer;
  }
  return ::testing::AssertionSuccess();
}

}  // namespace

::testing::AssertionResult is_reduction(const Elements& got, const std::vector<Elements>& inputs,
                                        Index first, Index count, ReduceOp op) {
  return all_within(got, count, [&](Index i) { return expected(inputs, first + i, op); });
}

::testing::AssertionResult is_reduction(const Elements& got, const std::vector<Expected>& wanted,
                                        Index first, Index count) {
  return all_within(got, count, [&](Index i) { return wanted[static_cast<std::size_t>(first + i)]; });
}

::testing::AssertionResult same(const void* got, const void* wanted, Index count, DType type) {
  const Bytes element = size_of(type);
  for (Bytes i = 0; i < static_cast<Bytes>(count); ++i) {
    if (std::memcmp(static_cast<const std::byte*>(got) + i * element,
                    static_cast<const std::byte*>(wanted) + i * element, element) != 0) {
      return ::testing::AssertionFailure() << "element " << i << " of " << count << " differs";
    }
  }
  return ::testing::AssertionSuccess();
}

bool agreed(std::uint64_t hash) {
  std::uint64_t both[] = {hash, ~hash};
  std::uint64_t least[2];
  check_mpi(MPI_Allreduce(both, least, 2, MPI_UINT64_T, MPI_MIN, mpi_handle(world())), "agreed");
  return least[0] == ~least[1];
}

Memory memory_of(Where where, Rank rank) {
  const bool shared = where == Where::shared || (where == Where::mixed && rank % 2 == 0);
  return shared ? Memory::node_shared : Memory::local;
}

std::vector<std::string> algorithm_names(Operation operation) {
  std::vector<std::string> names{""};
  Call call;
  call.comm = &world();
  call.operation = operation;
  for (const Algorithm* algorithm : algorithms(operation)) {
    if (!algorithm->why_not(call).empty()) continue;
    names.emplace_back(algorithm->name());
  }
  return names;
}

bool fits(const std::string& algorithm, Where where, bool inlined) {
  return algorithm != "node_shared" || where == Where::shared || inlined;
}

}  // namespace shoal::testing
