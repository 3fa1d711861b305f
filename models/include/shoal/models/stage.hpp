// The stages of a pipeline: which rank of axis pp has which layers.
#pragma once

#include <string>
#include <vector>

#include <shoal/models/gpt.hpp>
#include <shoal/runtime/placement.hpp>

namespace shoal::models {

/// What one rank of pp has of a model: a run of its layers. The first stage also has the position
/// embedding, the last one the final norm and the output layer. The token embedding, which is tied
/// to the output layer, is on the last stage only: the first one borrows the rows of its tokens for
/// every micro-batch, and sends their gradients back (borrowed_rows.hpp).
struct Stage {
  int index = 0;
  int count = 1;
  Block layers;

  bool first() const noexcept { return index == 0; }
  bool last() const noexcept { return index + 1 == count; }
  /// Micro-batches, of `all` in a step, whose activations it holds at a time: see 1F1B in
  /// pipeline_schedule.hpp.
  Index in_flight(Index all) const noexcept {
    const Index ahead = count - index;
    return all < ahead ? all : ahead;
  }
};

/// The layers of a model over `count` stages so that the one with the most work has as little as
/// can be. The output layer counts by its multiplications, beside which embeddings and norms are
/// nothing; where it outweighs layers the last stage has fewer of them, or none. Throws UsageError
/// for more stages than layers.
std::vector<Stage> divide_into_stages(const GptConfig& config, int count);

/// Their layers: "4+4+3+1".
std::string text_of(const std::vector<Stage>& stages);

/// Share of a step in which a stage waits for the others where all have the same work and messages
/// take no time: (p − 1)/(m + p − 1) for p stages and m micro-batches (Narayanan et al. 2021).
double ideal_bubble(int stages, Index micro_batches) noexcept;

}  // namespace shoal::models
