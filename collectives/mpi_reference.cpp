#include "mpi_reference.hpp"

#include <limits>

#include <shoal/runtime/mpi_interop.hpp>

#include "reduce/reduce.hpp"

namespace shoal {
namespace {

template <DType type, ReduceOp op>
void combine(void* from, void* into, int* count, MPI_Datatype*) {
  reduce_into(into, from, *count, type, op);
}

template <DType type, ReduceOp op>
MPI_Op custom_op() {
  static const MPI_Op made = [] {
    MPI_Op operation = MPI_OP_NULL;
    check_mpi(MPI_Op_create(combine<type, op>, 1, &operation), "mpi");
    return operation;
  }();
  return made;
}

template <DType type>
MPI_Op custom_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::min: return custom_op<type, ReduceOp::min>();
    case ReduceOp::max: return custom_op<type, ReduceOp::max>();
    case ReduceOp::prod: return custom_op<type, ReduceOp::prod>();
    case ReduceOp::sum:
    case ReduceOp::avg: break;
  }
  return custom_op<type, ReduceOp::sum>();
}

}  // namespace

MPI_Datatype mpi_type(DType type) {
  switch (type) {
    case DType::f32: return MPI_FLOAT;
    case DType::f64: return MPI_DOUBLE;
    case DType::bf16:
    case DType::f16: return MPI_UINT16_T;
    case DType::i8: return MPI_INT8_T;
    case DType::i32: return MPI_INT32_T;
    case DType::i64: return MPI_INT64_T;
  }
  return MPI_BYTE;
}

MPI_Op mpi_op(DType type, ReduceOp op) {
  if (type == DType::bf16) return custom_op<DType::bf16>(op);
  if (type == DType::f16) return custom_op<DType::f16>(op);
  // MPI leaves NaN in min and max open; ours passes it on.
  if (type == DType::f32 && (op == ReduceOp::min || op == ReduceOp::max)) {
    return custom_op<DType::f32>(op);
  }
  if (type == DType::f64 && (op == ReduceOp::min || op == ReduceOp::max)) {
    return custom_op<DType::f64>(op);
  }
  // Open MPI's vector code for 8-bit sums stops at 127, its scalar code wraps; ours wraps.
  if (type == DType::i8 && (op == ReduceOp::sum || op == ReduceOp::avg)) {
    return custom_op<DType::i8>(op);
  }
  switch (op) {
    case ReduceOp::min: return MPI_MIN;
    case ReduceOp::max: return MPI_MAX;
    case ReduceOp::prod: return MPI_PROD;
    case ReduceOp::sum:
    case ReduceOp::avg: break;
  }
  return MPI_SUM;
}

std::string why_not_mpi(const Call& call) {
  if (call.count > std::numeric_limits<int>::max()) return "MPI 3 counts are 31 bits";
  return {};
}

std::vector<int> int_counts(std::span<const Index> counts) {
  return std::vector<int>(counts.begin(), counts.end());
}

}  // namespace shoal
