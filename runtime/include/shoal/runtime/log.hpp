// Messages for people, aware of ranks.
#pragma once

#include <string_view>

namespace shoal::log {

enum class Level { debug, info, warning, error };

/// Lines below this level are dropped. Default: info, or the environment variable SHOAL_LOG: a level
/// (debug, info, warning, error), topics (see wants()), or both, separated by commas.
void set_level(Level level) noexcept;
Level level() noexcept;

/// Whether SHOAL_LOG names this topic, which is told of by info() only then: "collectives" (which
/// algorithm a collective takes, and why), "kernels" (which kernel a product takes).
bool wants(std::string_view topic) noexcept;

/// Write one line to standard error. `info` and `warning` speak once for the run (rank 0 only);
/// `debug` and `error` name the rank and speak on every rank.
void debug(std::string_view text);
void info(std::string_view text);
void warning(std::string_view text);
void error(std::string_view text);

}  // namespace shoal::log
