#include <shoal/models/pipeline_schedule.hpp>

#include <algorithm>

namespace shoal::models {

std::vector<StageTask> one_forward_one_backward(const Stage& stage, Index micro_batches) {
  const Index warm_up = std::min<Index>(stage.count - 1 - stage.index, micro_batches);
  std::vector<StageTask> tasks;
  for (Index i = 0; i < micro_batches + warm_up; ++i) {
    if (i < micro_batches) tasks.push_back({StageTask::Kind::forward, i});
    if (i >= warm_up) tasks.push_back({StageTask::Kind::backward, i - warm_up});
  }
  return tasks;
}

std::vector<StageTask> forward_only(Index micro_batches) {
  std::vector<StageTask> tasks;
  for (Index i = 0; i < micro_batches; ++i) tasks.push_back({StageTask::Kind::forward, i});
  return tasks;
}

}  // namespace shoal::models
