// What the sum of gradients over replicas adds to a step of this runtime's GPT.
#pragma once

#include <string>

#include <shoal/planning/estimate.hpp>

namespace shoal::planning {

/// The last backward pass of a stage, beside which gradients may go.
struct BackwardPass {
  Index layers = 0;
  double weights = 0;  ///< parameters that a rank of the stage has
  double layer_seconds = 0, again_seconds = 0, embedding_seconds = 0;
  bool has_embedding = true;  ///< of tokens, whose rows follow at the end
  bool gradients_wait = false;
};

struct GradientSum {
  double seconds = 0;  ///< beyond the pass
  int level = 0;       ///< that they cross
  std::string text;    ///< for --explain
};

GradientSum gpt_gradients(const Model& model, const Prices& prices, const Workload& workload,
                          const Layout& layout, const BackwardPass& pass);

}  // namespace shoal::planning
