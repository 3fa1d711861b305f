#include <shoal/kernels/parallel/cross_entropy.hpp>

#include <algorithm>
#include <cmath>
#include <string>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/kernels/local/cross_entropy.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::kernels {

VocabParallelCrossEntropy::VocabParallelCrossEntropy(const Communicator& group, Index vocabulary)
    : group_(&group), ids_(block_of(vocabulary, group.size(), group.rank())) {
  if (vocabulary < group.size()) {
    throw UsageError("cross-entropy",
                     "a vocabulary of " + std::to_string(vocabulary) + " ids does not divide over " +
                         group.name() + "=" + std::to_string(group.size()) + " ranks",
                     "choose a mesh with a smaller " + group.name());
  }
}

double VocabParallelCrossEntropy::forward(Index rows, const float* logits,
                                          const std::int32_t* targets) {
  const Index ranks = group_->size();
  const Index needed = 3 * rows * ranks;
  if (gathered_.size() < needed) gathered_ = Buffer<float>(needed, Memory::node_shared);
  float* mine = gathered_.data() + group_->rank() * 3 * rows;
  cross_entropy_stats(rows, ids_.size, logits, ids_.size, targets, ids_.begin, mine, mine + rows,
                      mine + 2 * rows);
  if (ranks > 1) all_gather(*group_, mine, 3 * rows, gathered_.data(), DType::f32);

  // Every rank combines the same numbers in the same order, so all agree to the last bit.
  log_sum_exp_.resize(static_cast<std::size_t>(rows));
  double total = 0;
  for (Index row = 0; row < rows; ++row) {
    float max = -INFINITY;
    for (Index rank = 0; rank < ranks; ++rank) {
      const float theirs = gathered_[rank * 3 * rows + row];
      max = theirs > max || std::isnan(theirs) ? theirs : max;
    }
    double sum = 0;
    double target = 0;
    for (Index rank = 0; rank < ranks; ++rank) {
      const float* theirs = gathered_.data() + rank * 3 * rows + row;
      // exp(−inf − −inf) would make a NaN of a shard that has only −inf, whose sum is 0. A shard that
      // has nothing but NaN shows no maximum either; its sum is NaN.
      const auto theirs_sum = static_cast<double>(theirs[rows]);
      sum += theirs[0] == -INFINITY ? theirs_sum
                                    : theirs_sum * std::exp(static_cast<double>(theirs[0] - max));
      target += theirs[2 * rows];
    }
    const double log_sum_exp = static_cast<double>(max) + std::log(sum);
    log_sum_exp_[static_cast<std::size_t>(row)] = static_cast<float>(log_sum_exp);
    total += log_sum_exp - target;
  }
  return total;
}

void VocabParallelCrossEntropy::backward(Index rows, float* logits, const std::int32_t* targets,
                                         double scale) {
  cross_entropy_backward(rows, ids_.size, logits, ids_.size, targets, ids_.begin,
                         log_sum_exp_.data(), static_cast<float>(scale));
}

}  // namespace shoal::kernels
