// A training step of this runtime's GPT on a measured machine, kernel by kernel.
#pragma once

#include <shoal/planning/estimate.hpp>

namespace shoal::planning {

/// True where the step is that of models/gpt.cpp (a GPT-2 run by the software "shoal", without
/// pipelines) and the device's kernels were measured.
bool is_measured_step(const Model& model, const Software& software, const Device& device,
                      const Layout& layout);

/// Fills in all of the estimate but its memory.
void estimate_measured_step(const Model& model, const Prices& prices, const Workload& workload,
                            Estimate& out, bool explain);

/// A GPT-2: what models/gpt.hpp trains.
bool is_gpt(const Model& model);

}  // namespace shoal::planning
