// Laws: stages are a division of the layers whose dearest part is as cheap as any; the schedule is
// a valid order, holds as few micro-batches as was said, and two stages agree on what passes
// between them.
#include <shoal/models/pipeline_schedule.hpp>
#include <shoal/models/stage.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>

#include <shoal/runtime/error.hpp>

namespace shoal::models {
namespace {

GptConfig form(Index layers, Index vocabulary) {
  GptConfig config;
  config.layers = layers;
  config.vocabulary = vocabulary;
  config.width = 64;
  config.heads = 4;
  config.block_size = 32;
  return config;
}

// Multiplications a token of the dearest stage.
double dearest(const GptConfig& config, const std::vector<Index>& layers) {
  const double width = static_cast<double>(config.width);
  const double layer = 12 * width * width + 2 * static_cast<double>(config.block_size) * width;
  double most = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    double work = static_cast<double>(layers[i]) * layer;
    if (i + 1 == layers.size()) work += static_cast<double>(config.vocabulary) * width;
    most = std::max(most, work);
  }
  return most;
}

TEST(Stages, CoverTheLayersAndTheDearestIsAsCheapAsAny) {
  for (const Index layers : {1, 2, 5, 7, 12}) {
    for (const Index vocabulary : {65, 1000, 5000, 20000}) {
      const GptConfig config = form(layers, vocabulary);
      for (int count = 1; count <= std::min<Index>(layers, 5); ++count) {
        const std::vector<Stage> stages = divide_into_stages(config, count);
        ASSERT_EQ(stages.size(), static_cast<std::size_t>(count));
        std::vector<Index> sizes;
        Index next = 0;
        for (int i = 0; i < count; ++i) {
          const Stage& stage = stages[static_cast<std::size_t>(i)];
          EXPECT_EQ(stage.index, i);
          EXPECT_EQ(stage.count, count);
          EXPECT_EQ(stage.first(), i == 0);
          EXPECT_EQ(stage.last(), i == count - 1);
          EXPECT_EQ(stage.layers.begin, next);
          EXPECT_TRUE(stage.layers.size > 0 || stage.last());
          next = stage.layers.end();
          sizes.push_back(stage.layers.size);
        }
        EXPECT_EQ(next, layers);
        // All divisions, one by one.
        double best = std::numeric_limits<double>::infinity();
        std::vector<Index> other(static_cast<std::size_t>(count));
        const std::function<void(std::size_t, Index)> divide = [&](std::size_t at, Index left) {
          if (at + 1 == other.size()) {
            other[at] = left;
            best = std::min(best, dearest(config, other));
            return;
          }
          for (Index size = 1; size <= left; ++size) {
            other[at] = size;
            divide(at + 1, left - size);
          }
        };
        divide(0, layers);
        EXPECT_DOUBLE_EQ(dearest(config, sizes), best)
            << layers << " layers, " << vocabulary << " ids: " << text_of(stages);
      }
    }
  }
  EXPECT_EQ(text_of(divide_into_stages(form(7, 65), 3)), "3+2+2");
  EXPECT_THROW(divide_into_stages(form(2, 65), 3), UsageError);
  EXPECT_THROW(divide_into_stages(form(2, 65), 0), UsageError);
}

TEST(Schedule, IsOneForwardOneBackward) {
  using Kind = StageTask::Kind;
  for (int count = 1; count <= 6; ++count) {
    for (Index micro_batches = 1; micro_batches <= 9; ++micro_batches) {
      std::size_t rounds_before = 0;
      for (int index = count - 1; index >= 0; --index) {
        const Stage stage{index, count, {index, 1}};
        const auto tasks = one_forward_one_backward(stage, micro_batches);
        ASSERT_EQ(tasks.size(), static_cast<std::size_t>(2 * micro_batches));
        Index forward = 0;
        Index backward = 0;
        Index most = 0;
        for (const StageTask& task : tasks) {
          // Messages of a lane come in this order.
          Index& next = task.kind == Kind::forward ? forward : backward;
          EXPECT_EQ(task.micro_batch, next++);
          EXPECT_LE(backward, forward);
          most = std::max(most, forward - backward);
        }
        EXPECT_EQ(forward, micro_batches);
        EXPECT_EQ(backward, micro_batches);
        EXPECT_EQ(most, stage.in_flight(micro_batches));
        // Between the first and the last pass of all stages lies the time of the bubble's formula:
        // the first backward of each stage comes one pass forward and one backward after that of
        // the next.
        const auto first_backward = static_cast<std::size_t>(
            std::find_if(tasks.begin(), tasks.end(),
                         [](const StageTask& task) { return task.kind == Kind::backward; }) -
            tasks.begin());
        if (index < count - 1) {
          EXPECT_LE(first_backward, rounds_before + 1);
        }
        rounds_before = first_backward;
      }
    }
  }
  EXPECT_EQ(forward_only(2), (std::vector<StageTask>{{Kind::forward, 0}, {Kind::forward, 1}}));
  EXPECT_DOUBLE_EQ(ideal_bubble(4, 9), 0.25);
  EXPECT_EQ(ideal_bubble(1, 3), 0);
}

// Plays all stages with messages that are taken as soon as they are there: they come to the end,
// and after as many turns as the formula of the bubble says.
TEST(Schedule, ComesToItsEndInTheTimeOfTheFormula) {
  using Kind = StageTask::Kind;
  for (int count = 1; count <= 6; ++count) {
    for (Index micro_batches = 1; micro_batches <= 9; ++micro_batches) {
      std::vector<std::vector<StageTask>> tasks;
      std::vector<std::size_t> at(static_cast<std::size_t>(count), 0);
      std::vector<Index> forward(static_cast<std::size_t>(count), 0), backward = forward;
      for (int i = 0; i < count; ++i) {
        tasks.push_back(one_forward_one_backward({i, count, {i, 1}}, micro_batches));
      }
      Index turns = 0;
      for (bool all_done = false; !all_done; ++turns) {
        ASSERT_LT(turns, 4 * (micro_batches + count)) << "stuck";
        const auto forward_then = forward, backward_then = backward;
        all_done = true;
        for (std::size_t i = 0; i < tasks.size(); ++i) {
          if (at[i] == tasks[i].size()) continue;
          const StageTask& task = tasks[i][at[i]];
          const bool can = task.kind == Kind::forward
                               ? i == 0 || forward_then[i - 1] > task.micro_batch
                               : i + 1 == tasks.size() || backward_then[i + 1] > task.micro_batch;
          if (can) {
            ++at[i];
            ++(task.kind == Kind::forward ? forward : backward)[i];
          }
          if (at[i] < tasks[i].size()) all_done = false;
        }
      }
      EXPECT_EQ(turns, 2 * (micro_batches + count - 1)) << count << " stages";
      EXPECT_NEAR(1 - static_cast<double>(2 * micro_batches) / static_cast<double>(turns),
                  ideal_bubble(count, micro_batches), 1e-12);
    }
  }
}

}  // namespace
}  // namespace shoal::models
