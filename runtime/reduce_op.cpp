#include <shoal/runtime/reduce_op.hpp>

#include <string>

#include <shoal/runtime/error.hpp>

namespace shoal {

std::string_view name_of(ReduceOp op) noexcept {
  switch (op) {
    case ReduceOp::sum: return "sum";
    case ReduceOp::min: return "min";
    case ReduceOp::max: return "max";
    case ReduceOp::prod: return "prod";
    case ReduceOp::avg: return "avg";
  }
  return "?";
}

ReduceOp parse_reduce_op(std::string_view text) {
  for (const ReduceOp op : all_reduce_ops) {
    if (text == name_of(op)) return op;
  }
  throw UsageError("reduction", "unknown operation '" + std::string(text) + "'",
                   "use sum, min, max, prod or avg");
}

}  // namespace shoal
