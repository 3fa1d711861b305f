// --json of the planner's subcommands.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>
#include <shoal/planning/profile.hpp>

namespace CLI {
class App;
}

namespace shoal::launch {

/// What --json asks for: nothing, JSON in place of the tables, or a file beside them.
struct JsonWish {
  bool asked = false;
  std::string file;

  bool instead_of_tables() const noexcept { return asked && file.empty(); }
};

/// Adds --json [FILE].
void add_json_option(CLI::App& app, JsonWish& wish);
/// Prints or writes it, if it is asked for. Throws UsageError if the file cannot be written.
void put_json(const JsonWish& wish, const nlohmann::ordered_json& json);

/// {"value", "confidence", "source"}.
nlohmann::ordered_json figure_json(const planning::Figure& figure);
/// Figures of a cluster's device and levels, by the device's and the levels' names; `before` goes in
/// front of the latter, where two clusters may have levels of the same name.
nlohmann::ordered_json figures_json(const planning::Cluster& cluster,
                                    const std::string& before = {});

}  // namespace shoal::launch
