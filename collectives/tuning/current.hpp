// The table in use, on every rank the same.
#pragma once

#include <memory>
#include <optional>

#include <shoal/collectives/tuning.hpp>

namespace shoal {

/// The table that the Runtime's tuning file holds (or use_tuning() has set), null if there is none. The
/// first call for a Runtime reads the text, and warns, once for the run, if it is refused: damaged, of
/// another version, or measured on another processor than that of rank 0. No communication: all have
/// the same text. Called where a communicator's state is made, not for each collective.
std::shared_ptr<const TuningTable> current_tuning();

/// The value that the current table gives a parameter, or the built-in one.
Bytes tuned_parameter(Parameter which);

/// False if the collectives of one node need not ask: no table sends them to another algorithm, and
/// nobody wants to read of their choices. A load.
bool node_choices_matter() noexcept;

/// Costs of messages within a node or between nodes, where they have been measured.
std::optional<Network> tuned_network(bool within_node);

}  // namespace shoal
