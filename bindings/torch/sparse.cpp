// All-reduce of sparse tensors, as the gradients of an embedding with sparse=True are: the elements that any
// rank has are brought together, and added up where ranks have the same ones.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/runtime/error.hpp>

#include "backend.hpp"
#include "tensors.hpp"

namespace shoal::torch_backend {
namespace {

// The tensors' shapes, sparse dimensions and types must agree; every rank sees by the same numbers whether
// they do. Returns how many elements each has.
std::vector<Index> agreed_counts(const char* operation, const Communicator& comm,
                                 const at::Tensor& tensor) {
  // Dimensions are few: those past the first ones are told by their product.
  constexpr std::size_t told = 8;
  std::vector<Index> mine{tensor._nnz(), tensor.sparse_dim(), tensor.dim(),
                          static_cast<Index>(tensor.scalar_type())};
  const std::size_t fixed = mine.size();
  mine.resize(fixed + told, 1);
  for (std::int64_t dim = 0; dim < tensor.dim(); ++dim) {
    Index& place = mine[fixed + std::min(static_cast<std::size_t>(dim), told - 1)];
    place *= tensor.size(dim);
  }
  const auto length = static_cast<Index>(mine.size());
  std::vector<Index> all(mine.size() * static_cast<std::size_t>(comm.size()));
  all_gather(comm, mine.data(), length, all.data(), DType::i64);
  std::vector<Index> counts;
  for (Rank rank = 0; rank < comm.size(); ++rank) {
    const auto theirs = all.begin() + rank * length;
    counts.push_back(*theirs);
    if (std::equal(theirs + 1, theirs + length, all.begin() + 1)) continue;
    throw Error(operation,
                "the sparse tensor of rank " + std::to_string(rank) +
                    " has another shape, type or number of sparse dimensions than that of rank 0",
                "pass tensors that differ only in the elements that are there");
  }
  return counts;
}

// What all ranks have of a part that is `row` bytes for each element, one rank after the other.
at::Tensor all_rows(const Communicator& comm, const at::Tensor& mine, std::vector<Index> counts,
                    std::int64_t elements) {
  std::vector<std::int64_t> sizes = mine.sizes().vec();
  sizes[0] = elements;
  const at::Tensor all = at::empty(sizes, mine.options());
  const Index row = elements > 0 ? static_cast<Index>(all.nbytes()) / elements : 0;
  for (Index& count : counts) count *= row;
  all_gather(comm, data_of(mine), data_of(all), counts, DType::i8);
  return all;
}

}  // namespace

TorchWork ProcessGroupShoal::allreduce_of_sparse(Tensors& tensors,
                                                 const c10d::AllreduceOptions& options) {
  constexpr auto name = "allreduce";
  const at::Tensor& tensor = tensors[0];
  require(tensor.device().is_cpu(), name, "only supports tensors on the CPU; move it there with .cpu()");
  require(static_cast<c10d::ReduceOp::RedOpType>(options.reduceOp) == c10d::ReduceOp::SUM, name,
          "works only with ReduceOp.SUM for sparse tensors");
  const at::NoGradGuard no_grad;
  const at::Tensor mine = tensor.coalesce();
  // An element's indices side by side, so that those of one rank follow those of another.
  const at::Tensor indices = mine._indices().t().contiguous();
  const at::Tensor values = mine._values().contiguous();
  const auto sum = std::make_shared<at::Tensor>();
  return start({name, c10d::OpType::ALLREDUCE, "shoal:all_reduce", tensors, {tensors}, options.timeout,
                bytes_of(values),
                [mine, indices, values, sum](const Communicator& comm) {
                  const at::NoGradGuard here_too;
                  const std::vector<Index> counts = agreed_counts(name, comm, mine);
                  std::int64_t elements = 0;
                  for (const Index count : counts) elements += count;
                  const at::Tensor where = all_rows(comm, indices, counts, elements);
                  const at::Tensor what = all_rows(comm, values, counts, elements);
                  *sum = at::sparse_coo_tensor(where.t(), what, mine.sizes()).coalesce();
                },
                [tensor, sum] { tensor.copy_(*sum); }});
}

}  // namespace shoal::torch_backend
