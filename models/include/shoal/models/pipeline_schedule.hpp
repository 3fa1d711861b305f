// The order in which a stage works off the micro-batches of a step.
#pragma once

#include <vector>

#include <shoal/models/stage.hpp>

namespace shoal::models {

/// One pass of one micro-batch.
struct StageTask {
  enum class Kind { forward, backward } kind;
  Index micro_batch;
  friend bool operator==(const StageTask&, const StageTask&) = default;
};

/// One forward, one backward (Narayanan et al. 2019, PipeDream; 2021, Megatron-LM, section 2.2.1):
/// stage i of p begins with p − 1 − i forward passes, then takes turns, and ends with the backward
/// passes that are left. It holds the activations of p − i micro-batches at most, however many
/// there are, and waits no longer than where all forward passes come first. With one stage: each
/// micro-batch forward and backward.
std::vector<StageTask> one_forward_one_backward(const Stage& stage, Index micro_batches);

/// Forward passes only.
std::vector<StageTask> forward_only(Index micro_batches);

}  // namespace shoal::models
