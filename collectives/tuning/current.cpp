#include "tuning/current.hpp"

#include <atomic>
#include <mutex>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>
#include <shoal/runtime/tuning_file.hpp>

#include "tuning/parameters.hpp"

namespace shoal {
namespace {

std::atomic<bool> matters{false};

struct State {
  std::mutex mutex;
  std::uint64_t generation = 0;  // of the file that was read; 0: none yet
  std::shared_ptr<const TuningTable> table;
  std::string description = "no table: the built-in cost model";
};

State& state() {
  static State instance;
  return instance;
}

// A one-node group goes another way than through shared memory only if that is the quicker one for
// buffers of both kinds, since no rank knows of the others' buffers before they have met.
bool sends_nodes_elsewhere(const TuningTable& table) {
  for (const TuningTable::Entry& entry : table.entries) {
    if (entry.group.nodes != 1) continue;
    for (const TuningTable::Point& point : entry.points) {
      if (!point.algorithm.starts_with("node_")) return true;
    }
  }
  return false;
}

// The state is locked.
void take(State& now, std::shared_ptr<const TuningTable> table) {
  now.table = std::move(table);
  set_parameters(now.table ? now.table->parameters : std::map<Parameter, Bytes>{});
  matters = log::wants("collectives") || (now.table && sends_nodes_elsewhere(*now.table));
}

std::string note(const TuningTable& table, std::string_view name) {
  for (const auto& [key, text] : table.provenance) {
    if (key == name) return text;
  }
  return {};
}

// The table in the Runtime's file. Throws Error if it is none for this machine.
std::shared_ptr<const TuningTable> table_in(const TuningFile& file) {
  if (!file.problem.empty()) throw Error("tuning table", file.problem);
  auto table = std::make_shared<TuningTable>(TuningTable::parse(file.text));
  const std::string processor = note(*table, "processor");
  if (processor != file.processor) {
    throw Error("tuning table",
                "it was measured on " + (processor.empty() ? "an unknown processor" : processor) +
                    ", this is " + file.processor,
                "run shoal tune here");
  }
  return table;
}

// The state is locked.
void refresh(State& now) {
  if (now.generation == tuning_file_generation()) return;
  now.generation = tuning_file_generation();
  const TuningFile& file = tuning_file();
  now.description = "no table: the built-in cost model";
  std::shared_ptr<const TuningTable> table;
  if (!file.path.empty()) {
    try {
      table = table_in(file);
      now.description = fmt::format("{} ({})", file.path, note(*table, "date"));
    } catch (const Error& error) {
      const std::string problem = fmt::format("{}: {}", file.path, error.message());
      log::warning(problem + "; the built-in cost model is used");
      now.description = "the built-in cost model, since " + problem;
    }
  }
  take(now, std::move(table));
}

}  // namespace

std::shared_ptr<const TuningTable> current_tuning() {
  State& now = state();
  const std::lock_guard lock(now.mutex);
  refresh(now);
  return now.table;
}

bool node_choices_matter() noexcept { return matters.load(std::memory_order_relaxed); }

std::optional<Network> tuned_network(bool within_node) {
  const std::shared_ptr<const TuningTable> table = current_tuning();
  if (!table) return std::nullopt;
  return within_node ? table->within_node : table->between_nodes;
}

Bytes tuned_parameter(Parameter which) {
  static_cast<void>(current_tuning());  // sees to it that they are this Runtime's
  return parameter(which);
}

void use_tuning(const std::optional<TuningTable>& table) {
  State& now = state();
  const std::lock_guard lock(now.mutex);
  if (table) {
    now.generation = tuning_file_generation();  // this one, not the file's
    now.description = "a table of the program";
    take(now, std::make_shared<TuningTable>(*table));
  } else {
    now.generation = 0;
    take(now, nullptr);
    refresh(now);
  }
}

std::string describe_tuning() {
  State& now = state();
  const std::lock_guard lock(now.mutex);
  refresh(now);
  return now.description;
}

}  // namespace shoal
