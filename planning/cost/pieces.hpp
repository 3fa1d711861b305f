// What ranks do in a training step, piece by piece: the list that the plan adds up and the simulator plays.
#pragma once

#include <cstddef>
#include <vector>

#include <shoal/planning/estimate.hpp>

namespace shoal::planning {

/// The passes of a layer over a micro-batch; `again`: what recomputation makes anew before the backward
/// pass.
struct LayerPieces {
  std::vector<LayerOp> forward, backward, again;
  /// Of `backward`: so many operations, after which the gradients of the MLP's products are whole. 0: not told.
  std::size_t mlp_backward = 0;
};

/// Operations with their seconds on one rank. By the tables of a measured machine where it has them, or
/// else by the formulae of cost/layer.cpp.
struct StepPieces {
  bool measured = false;
  LayerPieces dense, expert;                   ///< expert: empty in a model without
  std::vector<LayerOp> begin, begin_backward;  ///< embedding, on the first stage; formulae have none
  std::vector<LayerOp> head;                   ///< output layer and loss, both passes: the last stage
  /// True where gradients wait for the end of the backward pass; else they go beside it.
  bool gradients_wait = false;
};

/// `footprint`: bytes that a rank works with in a step; `stages`: how many stages are at work, 0:
/// all (measured machines only).
StepPieces step_pieces(const Model& model, const Software& software, const Prices& prices,
                       const Workload& workload, const Layout& layout, double footprint,
                       int stages = 0);

/// What follows the passes, for `weights` parameters on a rank: gradients of zero, the agreement of the
/// ranks, the optimizer, and the conversion of what travels in another type.
std::vector<LayerOp> update_pieces(const Model& model, const Software& software, const Prices& prices,
                                   const Workload& workload, const Layout& layout, double weights);

/// Parameters of a rank of a stage with so many layers; the last one has the output layer.
double stage_weights(const Model& model, const Layout& layout, Index layers, bool last);

/// Bytes of the rows of the embedding that a micro-step's tokens ask for, as models/borrowed_rows.cpp sends
/// them from the last stage to the first: of tokens without a pattern.
double borrowed_bytes(const Model& model, const Workload& workload, const Layout& layout);

/// Layers of each stage: as models/stage.cpp divides them for a GPT of this runtime; else as many as
/// the fullest has on all but the last.
std::vector<Index> layers_of_stages(const Model& model, const Software& software,
                                    const Workload& workload, const Layout& layout);

}  // namespace shoal::planning
