// What a call of torch passes: checked, in words that PyTorch's own backends use, and brought into
// one piece of memory.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/Types.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <shoal/runtime/units.hpp>

#include "operations.hpp"

namespace shoal::torch_backend {

using Tensors = std::vector<at::Tensor>;

/// Throw the exception that Python sees, named after the operation.
[[noreturn]] void refuse(const char* operation, const std::string& problem);
void require(bool good, const char* operation, const std::string& problem);

/// Dense, on the CPU; as an output without elements that share memory, which cannot take a result.
void check_tensor(const char* operation, const at::Tensor& tensor, bool is_output = false);
const at::Tensor& only_one(const char* operation, const Tensors& tensors, bool is_output = false);
/// All of them as `model` in type and sizes.
void check_alike(const char* operation, const Tensors& tensors, const at::Tensor& model,
                 bool are_outputs);
void check_same_type(const char* operation, const at::Tensor& a, const at::Tensor& b);

/// How torch's types and operations are combined.
Element element_of(const char* operation, const at::Tensor& tensor);
Combine combine_of(const char* operation, const c10d::ReduceOp& op, Element type);
/// What PREMUL_SUM adds up, a new tensor; with any other operation the tensor itself.
at::Tensor premultiplied(const char* operation, const c10d::ReduceOp& op, const at::Tensor& tensor);

/// What the ranks compare of their calls: types that go by the same bytes, operations made of the same one.
CollectiveOptions compared(const at::Tensor& tensor, Combine how = Combine::sum,
                           Purpose purpose = Purpose::itself, Rank root = 0);

void* data_of(const at::Tensor& tensor);
Bytes bytes_of(const at::Tensor& tensor);

/// A dense tensor for an output: itself, or one whose contents go there in the end.
at::Tensor dense_output(const at::Tensor& tensor);
/// Does that; nothing if they are the same.
std::function<void()> copying(const at::Tensor& to, const at::Tensor& from);

/// One piece of memory for all of them, which are alike: theirs, if they lie in a row.
at::Tensor row_for(const Tensors& tensors);
void copy_into_row(const at::Tensor& row, const Tensors& tensors);
std::function<void()> copying_from_row(const at::Tensor& row, const Tensors& tensors);

/// Bytes for each rank of a tensor that is divided along its first dimension: evenly without
/// splits.
std::vector<Index> byte_counts(const char* operation, const at::Tensor& tensor,
                               const std::vector<std::int64_t>& splits, int ranks);

}  // namespace shoal::torch_backend
