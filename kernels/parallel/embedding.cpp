#include <shoal/kernels/parallel/embedding.hpp>

#include <string>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/kernels/local/embedding.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::kernels {

VocabParallelEmbedding::VocabParallelEmbedding(const Communicator& group, Index vocabulary,
                                               Index width)
    : group_(&group), width_(width), ids_(block_of(vocabulary, group.size(), group.rank())) {
  if (vocabulary < group.size()) {
    throw UsageError("embedding",
                     "a vocabulary of " + std::to_string(vocabulary) + " ids does not divide over " +
                         group.name() + "=" + std::to_string(group.size()) + " ranks",
                     "choose a mesh with a smaller " + group.name());
  }
}

void VocabParallelEmbedding::forward(Index rows, const std::int32_t* tokens, const float* table,
                                     float* out) const {
  embedding_forward(rows, width_, tokens, ids_.begin, ids_.size, table, out);
  if (group_->size() > 1) {
    all_reduce(*group_, out, out, rows * width_, DType::f32, ReduceOp::sum);
  }
}

void VocabParallelEmbedding::backward(Index rows, const std::int32_t* tokens, const float* dout,
                                      float* dtable) const {
  embedding_backward(rows, width_, tokens, ids_.begin, ids_.size, dout, dtable);
}

}  // namespace shoal::kernels
