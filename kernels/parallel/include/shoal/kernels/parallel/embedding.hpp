// An embedding table divided over the ranks of a tensor-parallel group by token id.
#pragma once

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// Rank r of the group has rows block_of(vocabulary, size, r) of the table. Any vocabulary of at
/// least as many ids as ranks, divisible or not.
class VocabParallelEmbedding {
 public:
  /// Throws UsageError for fewer ids than ranks. `group` must outlive the layer.
  VocabParallelEmbedding(const Communicator& group, Index vocabulary, Index width);

  /// Token ids that this rank has.
  Block ids() const noexcept { return ids_; }

  /// out[rows, width] (summed over the group): the row of each token. `table`: [ids().size, width].
  void forward(Index rows, const std::int32_t* tokens, const float* table, float* out) const;
  /// Adds dout's rows to `dtable`. No communication.
  void backward(Index rows, const std::int32_t* tokens, const float* dout, float* dtable) const;

 private:
  const Communicator* group_;
  Index width_;
  Block ids_;
};

}  // namespace shoal::kernels
