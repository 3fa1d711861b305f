// What the sum of gradients over replicas adds to a step of this runtime's GPT.
#pragma once

#include <string>
#include <vector>

#include <shoal/planning/estimate.hpp>

namespace shoal::planning {

/// The last backward pass of a stage, beside which gradients may go.
struct BackwardPass {
  Index layers = 0;
  double weights = 0;  ///< parameters that a rank of the stage has
  double layer_seconds = 0, again_seconds = 0, embedding_seconds = 0;
  double mlp_seconds = 0;  ///< of layer_seconds, until the gradients of the MLP's products are whole
  bool has_embedding = true;  ///< of tokens, whose rows follow at the end
  bool gradients_wait = false;
};

/// A bucket of gradients: the stage of the backward pass after which it is whole (0: the output layer, then
/// of the layers, from the last, the MLP and the rest, then the embedding), what travels, and what that takes alone.
struct GradientBucket {
  std::size_t stage = 0;
  Operation operation = Operation::all_reduce;
  double bytes = 0, seconds = 0;
};

/// The flat array of gradients as BucketedAllReduce cuts it, in the order in which the buckets are whole.
/// The level that they cross goes to `level`.
std::vector<GradientBucket> gradient_buckets(const Model& model, const Prices& prices,
                                             const Workload& workload, const Layout& layout,
                                             const BackwardPass& pass, int* level);

/// What follows the buckets: rows of the embedding that the step has met, from all to all, and their sum.
std::vector<LayerOp> late_embedding_pieces(const Model& model, const Prices& prices,
                                           const Workload& workload, const Layout& layout);

struct GradientSum {
  double seconds = 0;  ///< beyond the pass
  int level = 0;       ///< that they cross
  std::string text;    ///< for --explain
};

GradientSum gpt_gradients(const Model& model, const Prices& prices, const Workload& workload,
                          const Layout& layout, const BackwardPass& pass);

}  // namespace shoal::planning
