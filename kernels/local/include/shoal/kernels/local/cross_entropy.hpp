// The pieces of a cross entropy whose logits may be divided over processes by vocabulary.
#pragma once

#include <cstdint>

#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// For each row of logits [rows × cols] (rows ld elements apart; column c is token first_id + c):
/// max [rows] = the largest logit, sum [rows] = Σ exp(logit − max), target_logit [rows] = the
/// target's logit, or 0 if the target is not in this shard. With cols == 0, or a row of −infinity
/// only, max is −infinity and sum 0; NaN or +infinity in a row makes its sum NaN. Reads the logits
/// once (Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018).
void cross_entropy_stats(Index rows, Index cols, const float* logits, Index ld,
                         const std::int32_t* targets, Index first_id, float* max, float* sum,
                         float* target_logit);

/// logits = (exp(logit − log_sum_exp) − onehot(target))·scale, in place: the gradient of scale times
/// the summed loss. log_sum_exp [rows] is that of the whole vocabulary.
void cross_entropy_backward(Index rows, Index cols, float* logits, Index ld,
                            const std::int32_t* targets, Index first_id, const float* log_sum_exp,
                            float scale);

}  // namespace shoal::kernels
