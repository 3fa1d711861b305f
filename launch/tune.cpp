// shoal tune
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/tuning_file.hpp>

#include "command.hpp"
#include "table_row.hpp"
#include "terminal.hpp"

namespace shoal::launch {
namespace {

namespace fs = std::filesystem;

constexpr const char* about_tune =
    "Measures this cluster, so that the collectives choose by it.\n"
    "\n"
    "  shoal run -- tune                          this machine\n"
    "  shoal run --hosts node01,node02 -- tune    a cluster\n"
    "\n"
    "Times every algorithm of every collective for groups of 2, 4, 8, ... ranks on one node and over "
    "2, 4, 8, ... nodes, which takes some minutes, and writes a table. Later runs find it by itself "
    "(docs/tuning.md); SHOAL_TUNING=off leaves it aside.";

// A line that is redrawn in place on a terminal, or one line for each thing that is begun.
class TuneProgress {
 public:
  void show(int done, int total, const std::string& what) {
    const int width = terminal_width();
    if (width == 0) {
      if (what != last_) fmt::print(stderr, "{:>3}% {}\n", 100 * done / total, what);
    } else {
      constexpr int cells = 24;
      const int full = done * cells / total;
      std::string line = fmt::format("[{}{}] {:>3}% {} {}", std::string(full, '='),
                                     std::string(cells - full, ' '), 100 * done / total, spent(),
                                     what);
      line.resize(std::min(line.size(), static_cast<std::size_t>(width - 1)));
      fmt::print(stderr, "\r{}\x1b[K", line);
      drawn_ = true;
    }
    std::fflush(stderr);
    last_ = what;
  }
  void finish() {
    if (drawn_) fmt::print(stderr, "\r\x1b[K");
  }
  std::string spent() const {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(
        std::chrono::steady_clock::now() - start_);
    return fmt::format("{}:{:02}", seconds.count() / 60, seconds.count() % 60);
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::string last_;
  bool drawn_ = false;
};

// Whole or not at all: a run that starts meanwhile finds the old table or the new one.
class TableFile {
 public:
  explicit TableFile(fs::path path) : path_(std::move(path)), temporary_(path_.string() + ".new") {}

  /// Empty if it can be written; else why not.
  std::string prepare() const {
    std::error_code error;
    if (path_.has_parent_path()) fs::create_directories(path_.parent_path(), error);
    if (error) return fmt::format("{}: {}", path_.parent_path().string(), error.message());
    if (!std::ofstream(temporary_)) return "cannot write " + temporary_.string();
    return {};
  }
  std::string write(const std::string& text) const {
    std::ofstream file(temporary_, std::ios::binary);
    file << text;
    file.close();
    std::error_code error;
    if (file) fs::rename(temporary_, path_, error);
    if (!file || error) return "cannot write " + path_.string();
    return {};
  }
  void forget() const {
    std::error_code ignored;
    fs::remove(temporary_, ignored);
  }

 private:
  fs::path path_, temporary_;
};

class TuneCommand : public Command {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("tune", about_tune);
    app_->add_option("--output", output_,
                     "the table (~/.config/shoal/tuning.json, where later runs look)")
        ->type_name("FILE");
    app_->add_option("--max-bytes", max_bytes_, "largest size")
        ->check(CLI::Range(Bytes{8}, Bytes{1} << 34))
        ->type_name("BYTES")
        ->capture_default_str();
    app_->add_option("--seconds-per-size", options_.seconds_per_size,
                     "time for an algorithm at a size")
        ->check(CLI::Range(0.0, 60.0))
        ->type_name("X")
        ->capture_default_str();
  }

  int run(Runtime& runtime) override {
    const Communicator& world = runtime.world();
    const bool speaks = world.rank() == 0;
    const fs::path path = output_.empty() ? default_tuning_path() : fs::path(output_);
    const TableFile file(path);
    std::string problem;
    if (speaks) problem = path.empty() ? "there is no home for it" : file.prepare();
    require_no(problem, world);

    TuneProgress progress;
    options_.max_bytes = max_bytes_;
    options_.progress = [&](int done, int total, const std::string& what) {
      progress.show(done, total, what);
    };
    TuningTable table;
    try {
      table = bench::tune(world, options_);
    } catch (...) {
      if (speaks) file.forget();
      throw;
    }
    progress.finish();
    if (speaks) problem = file.write(table.text());
    require_no(problem, world);
    if (speaks) tell(table, path, progress.spent());
    return 0;
  }

 private:
  // Throws on all ranks if rank 0 has a problem with the file.
  static void require_no(const std::string& problem, const Communicator& world) {
    std::int32_t bad = problem.empty() ? 0 : 1;
    broadcast(world, &bad, 1, DType::i32, 0);
    if (bad == 0) return;
    // The others have nothing to add: what they would say is not printed when rank 0 says it.
    std::int32_t length = static_cast<std::int32_t>(problem.size());
    broadcast(world, &length, 1, DType::i32, 0);
    std::string text = problem;
    text.resize(static_cast<std::size_t>(length));
    broadcast(world, text.data(), length, DType::i8, 0);
    throw UsageError("tune", text, "choose another file with --output");
  }

  static void tell(const TuningTable& table, const fs::path& path, const std::string& spent) {
    for (const auto& [name, text] : table.provenance) print_row(name, text, 20);
    for (const auto& [which, value] : table.parameters) {
      print_row(std::string(name_of(which)),
                value == 0 ? "0 (by the sizes of the caches)" : std::to_string(value), 20);
    }
    for (const TuningTable::Entry& entry : table.entries) {
      std::string choices;
      for (std::size_t i = 0; i < entry.points.size(); ++i) {
        const TuningTable::Point& point = entry.points[i];
        if (i > 0 && point.algorithm == entry.points[i - 1].algorithm) continue;
        choices += fmt::format("{}{} from {} B", choices.empty() ? "" : ", ", point.algorithm,
                               point.bytes);
      }
      print_row(std::string(name_of(entry.group.operation)),
                fmt::format("{} ranks, {} node{}, {}: {}", entry.group.ranks, entry.group.nodes,
                            entry.group.nodes == 1 ? "" : "s",
                            entry.group.memory == Memory::local ? "local" : "node_shared", choices),
                20);
    }
    fmt::print("Measured in {} min; written to {}\n", spent, path.string());
    const TuningFile& found = tuning_file();
    if (path != default_tuning_path() && found.path != path.string()) {
      fmt::print("Runs find it with SHOAL_TUNING={}\n", fs::absolute(path).string());
    }
  }

  std::string output_;
  Bytes max_bytes_ = Bytes{16} << 20;
  bench::TuneOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_tune_command() { return std::make_unique<TuneCommand>(); }

}  // namespace shoal::launch
