// What links let pass at once, through a step: they gain it while ranks compute, exchanges spend it.
#pragma once

#include <vector>

#include "cost/pieces.hpp"

namespace shoal::planning {

/// Seconds that exchanges of a step take beyond what they would after a rest of the links, by level.
/// Of a rank of a stage with `layers`, in a step like the one before. `micro_steps` forward and backward
/// passes; the gradients that follow leave the links nothing.
std::vector<double> seconds_without_rest(const Prices& prices, const Layout& layout,
                                         const StepPieces& pieces, int micro_steps, Index layers);

/// What the links of such a rank let pass at once when its step begins, by level.
std::vector<double> credit_at_start(const Prices& prices, const Layout& layout, const StepPieces& pieces,
                                    int micro_steps, Index layers);

}  // namespace shoal::planning
