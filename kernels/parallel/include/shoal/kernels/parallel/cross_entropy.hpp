// Cross-entropy over logits that are divided over a tensor-parallel group by token id: no rank ever
// holds all logits of a row (Shoeybi et al. 2019, section 3). Only three numbers a row are exchanged.
#pragma once

#include <vector>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/placement.hpp>

namespace shoal::kernels {

class VocabParallelCrossEntropy {
 public:
  /// Rank r has the logits block_of(vocabulary, size, r). `group` must outlive the layer.
  VocabParallelCrossEntropy(const Communicator& group, Index vocabulary);

  Block ids() const noexcept { return ids_; }

  /// The sum over rows of −log softmax(logits)[target], the same on every rank of the group. Keeps
  /// what backward needs. `logits`: [rows, ids().size]; `targets`: [rows], ids of the whole
  /// vocabulary.
  double forward(Index rows, const float* logits, const std::int32_t* targets);
  /// Replaces the logits of the last forward by `scale` times the gradient of that sum.
  void backward(Index rows, float* logits, const std::int32_t* targets, double scale);

 private:
  const Communicator* group_;
  Block ids_;
  Buffer<float> gathered_;  ///< [group size, 3, rows]: maximum, sum of exponentials, target's logit
  std::vector<float> log_sum_exp_;
};

}  // namespace shoal::kernels
