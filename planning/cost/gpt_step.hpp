// The pieces of a training step of this runtime's GPT on a measured machine.
#pragma once

#include "cost/pieces.hpp"

namespace shoal::planning {

/// True where the step is that of models/gpt.cpp (a GPT-2 run by the software "shoal") and the device's
/// kernels were measured.
bool is_measured_step(const Model& model, const Software& software, const Device& device);

StepPieces measured_pieces(const Model& model, const Prices& prices, const Workload& workload,
                           const Layout& layout, double footprint, int stages);
std::vector<LayerOp> measured_update(const Model& model, const Prices& prices,
                                     const Workload& workload, const Layout& layout, double weights);

/// A GPT-2: what models/gpt.hpp trains.
bool is_gpt(const Model& model);

}  // namespace shoal::planning
