// How much of the sum of gradients hides behind the backward pass.
#pragma once

#include <algorithm>

#include <shoal/models/dataset.hpp>
#include <shoal/models/trainer.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// Medians over steps of three kinds that take turns with one model, so that what disturbs the machine
/// disturbs all alike; of each step the time of the slowest rank.
struct Overlap {
  double with_ms = 0;     ///< a step that sums its gradients while the backward pass makes them
  double without_ms = 0;  ///< a step that sums nothing: every rank by itself, all at once
  double sum_ms = 0;      ///< the sum, nothing beside it
  double exposed_ms = 0;  ///< what was left of the sum when the last rank had ended its backward pass

  /// Share of the sum's time that lies beside the backward pass: nothing on one node, where all of it follows.
  double beside() const { return std::max(0.0, 1 - exposed_ms / sum_ms); }
  /// Share of the sum's time that a step does not take longer for it: less where the two share processors.
  double hidden() const { return 1 - (with_ms - without_ms) / sum_ms; }
};

/// Takes `rounds` steps of each kind, and one first that does not count, with the trainer's model and
/// optimizer at a learning rate of 0. dp must be more than 1. Collective over `world`, the mesh's ranks.
Overlap measure_overlap(const Communicator& world, models::Trainer& trainer,
                        const models::TrainOptions& options, const models::Dataset& data, int rounds);

}  // namespace shoal::bench
