#include "tensors.hpp"

#include <torch/version.h>

#include <numeric>
#include <utility>

namespace shoal::torch_backend {

void refuse(const char* operation, const std::string& problem) {
  TORCH_CHECK(false, "ProcessGroupShoal::", operation, ": ", problem);
}

void require(bool good, const char* operation, const std::string& problem) {
  if (!good) refuse(operation, problem);
}

void check_tensor(const char* operation, const at::Tensor& tensor, bool is_output) {
  require(tensor.defined(), operation, "a tensor is undefined");
  require(tensor.layout() == at::kStrided, operation, "only supports dense tensors");
  require(tensor.device().is_cpu(), operation,
          "only supports tensors on the CPU, got one on " + tensor.device().str() +
              "; move it there with .cpu()");
  require(!tensor.is_quantized(), operation,
          "cannot take quantized tensors, whose scale does not travel; pass int_repr()");
  if (!is_output || tensor.numel() <= 1) return;
  for (std::int64_t dim = 0; dim < tensor.dim(); ++dim) {
    require(tensor.stride(dim) != 0 || tensor.size(dim) <= 1, operation,
            "the output is an expanded tensor, whose elements share memory; pass a clone()");
  }
}

const at::Tensor& only_one(const char* operation, const Tensors& tensors, bool is_output) {
  require(!tensors.empty(), operation, "requires non-empty tensor list");
  require(tensors.size() == 1, operation,
          "requires a single tensor, got " + std::to_string(tensors.size()));
  check_tensor(operation, tensors[0], is_output);
  return tensors[0];
}

void check_alike(const char* operation, const Tensors& tensors, const at::Tensor& model,
                 bool are_outputs) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    check_tensor(operation, tensors[i], are_outputs);
    if (tensors[i].scalar_type() != model.scalar_type()) {
      refuse(operation, c10::str("invalid tensor type at index ", i, " (expected ",
                                 model.scalar_type(), ", got ", tensors[i].scalar_type(), ")"));
    }
    if (tensors[i].sizes() != model.sizes()) {
      refuse(operation, c10::str("invalid tensor size at index ", i, " (expected ", model.sizes(),
                                 ", got ", tensors[i].sizes(), ")"));
    }
  }
}

void check_same_type(const char* operation, const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type()) {
    refuse(operation, c10::str("input and output are of different types (", a.scalar_type(), ", ",
                               b.scalar_type(), ")"));
  }
}

Element element_of(const char* operation, const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat: return Element::f32;
    case at::kDouble: return Element::f64;
    case at::kBFloat16: return Element::bf16;
    case at::kHalf: return Element::f16;
    case at::kChar: return Element::i8;
    case at::kByte: return Element::u8;
    case at::kBool: return Element::boolean;
    case at::kShort: return Element::i16;
    case at::kInt: return Element::i32;
    case at::kLong: return Element::i64;
    default: break;
  }
  refuse(operation, c10::str("Invalid scalar type: cannot combine ", tensor.scalar_type(),
                             "; convert it to float, double, half, bfloat16, bool or an integer"));
}

namespace {

// Truth values, as PyTorch takes them with NCCL: a sum is an or, a product an and.
Combine combine_of_truth(const char* operation, Combine how) {
  switch (how) {
    case Combine::sum:
    case Combine::bor: return Combine::max;
    case Combine::prod:
    case Combine::band: return Combine::min;
    case Combine::avg:
      refuse(operation, "Cannot use ReduceOp.AVG with bool; convert it to float");
    default: return how;
  }
}

}  // namespace

Combine combine_of(const char* operation, const c10d::ReduceOp& op, Element type) {
  Combine how = Combine::sum;
  switch (static_cast<c10d::ReduceOp::RedOpType>(op)) {
    case c10d::ReduceOp::SUM: how = Combine::sum; break;
    case c10d::ReduceOp::AVG: how = Combine::avg; break;
    case c10d::ReduceOp::PRODUCT: how = Combine::prod; break;
    case c10d::ReduceOp::MIN: how = Combine::min; break;
    case c10d::ReduceOp::MAX: how = Combine::max; break;
    case c10d::ReduceOp::BAND: how = Combine::band; break;
    case c10d::ReduceOp::BOR: how = Combine::bor; break;
    case c10d::ReduceOp::BXOR: how = Combine::bxor; break;
    case c10d::ReduceOp::PREMUL_SUM: how = Combine::sum; break;  // of what premultiplied() gives
    default: refuse(operation, "Unhandled ReduceOp");
  }
  if (type == Element::boolean) how = combine_of_truth(operation, how);
  require_combines(operation, type, how);
  return how;
}

at::Tensor premultiplied(const char* operation, const c10d::ReduceOp& op,
                         const at::Tensor& tensor) {
  if (static_cast<c10d::ReduceOp::RedOpType>(op) != c10d::ReduceOp::PREMUL_SUM) return tensor;
  require(tensor.is_floating_point(), operation, "PREMUL_SUM multiplies floating-point numbers");
  require(op.supplement_.defined(), operation,
          "PREMUL_SUM has no factor; make it with torch.distributed._make_nccl_premul_sum(factor)");
  const auto& factor = static_cast<const c10d::NCCLPreMulSumSupplement&>(*op.supplement_);
#if TORCH_VERSION_MAJOR >= 2
  const at::Tensor by_tensor = factor.tensor_factor;
#else
  require(factor.tensor_factors.size() <= 1, operation,
          "PREMUL_SUM has several factors, for one tensor");
  const at::Tensor by_tensor =
      factor.tensor_factors.empty() ? at::Tensor() : factor.tensor_factors[0];
#endif
  if (!by_tensor.defined()) return tensor.mul(factor.double_factor);
  check_tensor(operation, by_tensor);
  require(
      by_tensor.numel() == 1, operation,
      "the factor of PREMUL_SUM has " + std::to_string(by_tensor.numel()) + " elements, not one");
  return tensor.mul(by_tensor.reshape({}).to(tensor.scalar_type()));
}

CollectiveOptions compared(const at::Tensor& tensor, Combine how, Purpose purpose, Rank root) {
  // Of the ways to combine those that an all-gather brings together.
  const int bits = how == Combine::band ? 1 : how == Combine::bor ? 2 : how == Combine::bxor ? 3 : 0;
  CollectiveOptions options;
  options.meaning = {purpose, root,
                     static_cast<std::uint8_t>(static_cast<int>(tensor.scalar_type()) | bits << 6)};
  return options;
}

void* data_of(const at::Tensor& tensor) { return tensor.data_ptr(); }
Bytes bytes_of(const at::Tensor& tensor) { return static_cast<Bytes>(tensor.nbytes()); }

at::Tensor dense_output(const at::Tensor& tensor) {
  return tensor.is_contiguous() ? tensor : at::empty(tensor.sizes(), tensor.options());
}

std::function<void()> copying(const at::Tensor& to, const at::Tensor& from) {
  if (to.is_same(from)) return nullptr;
  return [to, from] { to.copy_(from); };
}

namespace {

// Tensors that are the parts of one another's memory, in order, as those of chunk() are.
bool lie_in_a_row(const Tensors& tensors) {
  const auto* next = static_cast<const std::byte*>(data_of(tensors[0]));
  for (const at::Tensor& tensor : tensors) {
    if (!tensor.is_contiguous() || data_of(tensor) != next) return false;
    next += tensor.nbytes();
  }
  return true;
}

}  // namespace

at::Tensor row_for(const Tensors& tensors) {
  const at::Tensor& first = tensors[0];
  const auto count = static_cast<std::int64_t>(tensors.size()) * first.numel();
  if (first.numel() > 0 && lie_in_a_row(tensors)) {
    return at::from_blob(data_of(first), {count}, first.options().requires_grad(false));
  }
  return at::empty({count}, first.options().requires_grad(false));
}

void copy_into_row(const at::Tensor& row, const Tensors& tensors) {
  if (row.numel() == 0 || data_of(row) == data_of(tensors[0])) return;
  std::int64_t at = 0;
  for (const at::Tensor& tensor : tensors) {
    row.narrow(0, at, tensor.numel()).view(tensor.sizes()).copy_(tensor);
    at += tensor.numel();
  }
}

std::function<void()> copying_from_row(const at::Tensor& row, const Tensors& tensors) {
  if (row.numel() == 0 || data_of(row) == data_of(tensors[0])) return nullptr;
  return [row, tensors] {
    std::int64_t at = 0;
    for (const at::Tensor& tensor : tensors) {
      tensor.copy_(row.narrow(0, at, tensor.numel()).view(tensor.sizes()));
      at += tensor.numel();
    }
  };
}

std::vector<Index> byte_counts(const char* operation, const at::Tensor& tensor,
                               const std::vector<std::int64_t>& splits, int ranks) {
  const std::int64_t rows = tensor.dim() == 0 ? 1 : tensor.size(0);
  const Index row_bytes = rows == 0 ? 0 : static_cast<Index>(tensor.nbytes()) / rows;
  std::vector<Index> counts;
  if (splits.empty()) {
    require(rows % ranks == 0, operation,
            "Tensor's dim 0 does not divide equally across group size");
    counts.assign(static_cast<std::size_t>(ranks), rows / ranks * row_bytes);
    return counts;
  }
  require(splits.size() == static_cast<std::size_t>(ranks), operation,
          "Number of tensor splits not equal to group size");
  require(std::accumulate(splits.begin(), splits.end(), std::int64_t{0}) == rows, operation,
          "Split sizes doesn't match total dim 0 size");
  for (const std::int64_t split : splits) {
    require(split >= 0, operation, "a split size is negative");
    counts.push_back(split * row_bytes);
  }
  return counts;
}

}  // namespace shoal::torch_backend
