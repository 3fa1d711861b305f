// Several tensors in one collective: what PyTorch asks of a backend from 2.0 on.
#include <torch/version.h>
#if TORCH_VERSION_MAJOR >= 2

#include <cstdint>

#include <shoal/collectives/all_gather.hpp>

#include "backend.hpp"

namespace shoal::torch_backend {
namespace {

constexpr auto all_gather_name = "allgather_into_tensor_coalesced";
constexpr auto reduce_scatter_name = "reduce_scatter_tensor_coalesced";

// Each of `whole` is `ranks` times as long as its `part`.
void check_pairs(const char* operation, const Tensors& whole, const Tensors& part, int ranks) {
  require(!part.empty() && whole.size() == part.size(), operation,
          "requires as many output tensors as input tensors, and at least one");
  for (std::size_t i = 0; i < part.size(); ++i) {
    check_same_type(operation, whole[i], part[i]);
    require(whole[i].numel() == part[i].numel() * ranks, operation,
            "tensor " + std::to_string(i) + " of one list must be world_size times that of the other");
  }
}

}  // namespace

TorchWork ProcessGroupShoal::allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                                             const c10d::AllgatherOptions& options) {
  for (const at::Tensor& input : inputs) check_tensor(all_gather_name, input);
  for (const at::Tensor& output : outputs) check_tensor(all_gather_name, output, true);
  check_pairs(all_gather_name, outputs, inputs, size_);
  const at::NoGradGuard no_grad;
  // Of every rank all tensors, one after the other, as bytes.
  Tensors bytes;
  for (const at::Tensor& input : inputs) {
    bytes.push_back(input.contiguous().reshape({-1}).view(at::kByte));
  }
  const at::Tensor in = at::cat(bytes);
  const at::Tensor row = at::empty({size_, in.numel()}, in.options());
  return start({all_gather_name, c10d::OpType::ALLGATHER_COALESCED, "shoal:all_gather", inputs,
                {outputs}, options.timeout, bytes_of(row),
                [in, row](const Communicator& comm) {
                  shoal::all_gather(comm, data_of(in), in.numel(), data_of(row), DType::i8);
                },
                [row, outputs, ranks = size_] {
                  std::int64_t at = 0;
                  for (const at::Tensor& output : outputs) {
                    const auto size = static_cast<std::int64_t>(output.nbytes()) / ranks;
                    // A copy, since types larger than a byte must be aligned.
                    output.copy_(row.narrow(1, at, size).clone(at::MemoryFormat::Contiguous)
                                     .view({-1}).view(output.scalar_type()).view(output.sizes()));
                    at += size;
                  }
                }});
}

TorchWork ProcessGroupShoal::reduce_scatter_tensor_coalesced(
    Tensors& outputs, Tensors& inputs, const c10d::ReduceScatterOptions& options) {
  for (const at::Tensor& input : inputs) check_tensor(reduce_scatter_name, input);
  for (const at::Tensor& output : outputs) check_tensor(reduce_scatter_name, output, true);
  check_pairs(reduce_scatter_name, inputs, outputs, size_);
  const Element type = element_of(reduce_scatter_name, outputs[0]);
  const Combine how = combine_of(reduce_scatter_name, options.reduceOp, type);
  const at::NoGradGuard no_grad;
  // For every rank its part of all tensors, one after the other.
  Tensors parts;
  for (const at::Tensor& input : inputs) {
    require(input.scalar_type() == outputs[0].scalar_type(), reduce_scatter_name,
            "tensors must all have the same type");
    parts.push_back(input.reshape({size_, -1}));
  }
  const at::Tensor row =
      premultiplied(reduce_scatter_name, options.reduceOp, at::cat(parts, 1).contiguous());
  const at::Tensor out = at::empty({row.size(1)}, row.options());
  return start({reduce_scatter_name, c10d::OpType::_REDUCE_SCATTER_BASE, "shoal:reduce_scatter", inputs,
                {outputs}, options.timeout, bytes_of(row),
                [row, out, type, how](const Communicator& comm) {
                  combine_scatter(comm, data_of(row), data_of(out), out.numel(), type, how,
                                  compared(row, how));
                },
                [out, outputs] {
                  std::int64_t at = 0;
                  for (const at::Tensor& output : outputs) {
                    output.copy_(out.narrow(0, at, output.numel()).view(output.sizes()));
                    at += output.numel();
                  }
                }});
}

}  // namespace shoal::torch_backend

#endif
