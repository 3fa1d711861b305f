#include "preload/types.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

namespace shoal::preload {
namespace {

enum class Kind : std::uint8_t {
  none,  // moved, never reduced
  signed_integer,
  unsigned_integer,  // wraps as the signed one does, but is ordered otherwise
  real,
  complex,  // added part by part
};

struct Type {
  MPI_Datatype mpi;
  Kind kind;
  int size;
};

// Open addressing by the handle; half full at most.
constexpr std::size_t slots = 256;
std::array<Type, slots> table;

std::size_t slot_of(MPI_Datatype type) noexcept {
  const auto bits = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(type));
  return static_cast<std::size_t>((bits * 0x9e3779b97f4a7c15u) >> 56);
}

const Type* find(MPI_Datatype type) noexcept {
  for (std::size_t at = slot_of(type);; at = (at + 1) % slots) {
    if (table[at].mpi == type) return &table[at];
    if (table[at].mpi == MPI_DATATYPE_NULL) return nullptr;
  }
}

void add(MPI_Datatype type, Kind kind) {
  if (type == MPI_DATATYPE_NULL || find(type) != nullptr) return;
  // Types of Fortran that this MPI was built without have size 0.
  int size = 0;
  MPI_Aint lower = 0;
  MPI_Aint extent = 0;
  if (PMPI_Type_size(type, &size) != MPI_SUCCESS || size <= 0) return;
  PMPI_Type_get_extent(type, &lower, &extent);
  if (lower != 0 || extent != size) return;  // such as MPI_DOUBLE_INT, with its gap
  std::size_t at = slot_of(type);
  while (table[at].mpi != MPI_DATATYPE_NULL) at = (at + 1) % slots;
  table[at] = {type, kind, size};
}

std::optional<DType> integer_of(int size) noexcept {
  switch (size) {
    case 1:
      return DType::i8;
    case 4:
      return DType::i32;
    case 8:
      return DType::i64;
    default:
      return std::nullopt;
  }
}

std::optional<DType> real_of(int size) noexcept {
  if (size == 4) return DType::f32;
  if (size == 8) return DType::f64;
  return std::nullopt;
}

}  // namespace

void start_types() {
  table.fill({MPI_DATATYPE_NULL, Kind::none, 0});
  for (const MPI_Datatype type :
       {MPI_SIGNED_CHAR, MPI_SHORT, MPI_INT, MPI_LONG, MPI_LONG_LONG, MPI_INT8_T, MPI_INT16_T,
        MPI_INT32_T, MPI_INT64_T, MPI_AINT, MPI_OFFSET, MPI_COUNT, MPI_INTEGER, MPI_INTEGER1,
        MPI_INTEGER2, MPI_INTEGER4, MPI_INTEGER8}) {
    add(type, Kind::signed_integer);
  }
  for (const MPI_Datatype type :
       {MPI_UNSIGNED_CHAR, MPI_UNSIGNED_SHORT, MPI_UNSIGNED, MPI_UNSIGNED_LONG,
        MPI_UNSIGNED_LONG_LONG, MPI_UINT8_T, MPI_UINT16_T, MPI_UINT32_T, MPI_UINT64_T}) {
    add(type, Kind::unsigned_integer);
  }
  for (const MPI_Datatype type :
       {MPI_FLOAT, MPI_DOUBLE, MPI_REAL, MPI_DOUBLE_PRECISION, MPI_REAL4, MPI_REAL8}) {
    add(type, Kind::real);
  }
  for (const MPI_Datatype type : {MPI_C_FLOAT_COMPLEX, MPI_C_DOUBLE_COMPLEX, MPI_COMPLEX,
                                  MPI_DOUBLE_COMPLEX, MPI_COMPLEX8, MPI_COMPLEX16}) {
    add(type, Kind::complex);
  }
  for (const MPI_Datatype type :
       {MPI_CHAR, MPI_BYTE, MPI_PACKED, MPI_WCHAR, MPI_C_BOOL, MPI_LONG_DOUBLE, MPI_2INT,
        MPI_FLOAT_INT, MPI_CHARACTER, MPI_LOGICAL}) {
    add(type, Kind::none);
  }
}

std::optional<Reduction> reduction_of(MPI_Datatype type, MPI_Op op) noexcept {
  const Type* const known = find(type);
  if (known == nullptr) return std::nullopt;
  ReduceOp reduce = ReduceOp::sum;
  if (op == MPI_SUM)
    reduce = ReduceOp::sum;
  else if (op == MPI_PROD)
    reduce = ReduceOp::prod;
  else if (op == MPI_MIN)
    reduce = ReduceOp::min;
  else if (op == MPI_MAX)
    reduce = ReduceOp::max;
  else
    return std::nullopt;
  const bool orders = reduce == ReduceOp::min || reduce == ReduceOp::max;
  std::optional<DType> element;
  int parts = 1;
  switch (known->kind) {
    case Kind::none:
      break;
    case Kind::signed_integer:
      element = integer_of(known->size);
      break;
    case Kind::unsigned_integer:
      if (!orders) element = integer_of(known->size);
      break;
    case Kind::real:
      element = real_of(known->size);
      break;
    case Kind::complex:
      if (reduce == ReduceOp::sum) element = real_of(known->size / 2);
      parts = 2;
      break;
  }
  if (!element) return std::nullopt;
  return Reduction{*element, reduce, parts};
}

std::optional<Bytes> bytes_of(int count, MPI_Datatype type) noexcept {
  if (count < 0 || type == MPI_DATATYPE_NULL) return std::nullopt;
  if (const Type* known = find(type)) {
    return static_cast<Bytes>(count) * static_cast<Bytes>(known->size);
  }
  MPI_Count size = 0;
  if (PMPI_Type_size_x(type, &size) != MPI_SUCCESS || size < 0) return std::nullopt;
  return static_cast<Bytes>(count) * static_cast<Bytes>(size);
}

bool is_plain(MPI_Datatype type) noexcept { return find(type) != nullptr; }

}  // namespace shoal::preload
