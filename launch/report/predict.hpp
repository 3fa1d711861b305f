// This machine as a profile of the planner, and what the planner makes of it.
#pragma once

namespace shoal::launch::report {

/// From train-*.json and collectives.json in the working directory: writes this-machine.json, a
/// profile of as many ranks as `cores` a node and 64 nodes joined by 10 Gbit/s Ethernet, the models
/// that were trained as NAME.model.json, and predict.json with the speeds that the planner expects of
/// them. Throws Error if there are no such measurements.
void write_predictions(int cores);

}  // namespace shoal::launch::report
