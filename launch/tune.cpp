// shoal tune
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/planning/kernels.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/tuning_file.hpp>

#include "command.hpp"
#include "profile_file.hpp"
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
    "(docs/tuning.md); SHOAL_TUNING=off leaves it aside. Then it times the kernels of training, "
    "collectives and links for a profile, by which shoal plan predicts what this cluster does and "
    "train --mesh auto chooses.";

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
    app_->add_option("--profile", profile_,
                     "the profile (beside the table: tuning.profile.json)")
        ->type_name("FILE");
    app_->add_option("--what", what_, "table, profile or all: what is measured")
        ->check(CLI::IsMember({"table", "profile", "all"}))
        ->type_name("WHAT")
        ->capture_default_str();
    app_->add_flag("--quick", quick_, "a coarse profile, in seconds");
  }

  int run(Runtime& runtime) override {
    const Communicator& world = runtime.world();
    if (what_ != "profile") measure_table(world);
    if (what_ != "table") measure_profile(world);
    return 0;
  }

 private:
  void measure_table(const Communicator& world) {
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
  }

  void measure_profile(const Communicator& world) {
    const bool speaks = world.rank() == 0;
    const fs::path table = output_.empty() ? default_tuning_path() : fs::path(output_);
    const fs::path path = profile_.empty() ? profile_beside(table) : fs::path(profile_);
    const TableFile file(path);
    std::string problem;
    if (speaks) problem = path.empty() ? "there is no home for it" : file.prepare();
    require_no(problem, world);
    TuneProgress progress;
    bench::ProfileOptions options;
    options.quick = quick_;
    options.progress = [&](int done, int total, const std::string& what) {
      progress.show(done, total, what);
    };
    planning::Cluster cluster;
    try {
      cluster = bench::profile(world, options);
    } catch (...) {
      if (speaks) file.forget();
      throw;
    }
    progress.finish();
    if (speaks) problem = file.write(planning::profile_text(cluster));
    require_no(problem, world);
    if (speaks) tell_profile(cluster, path, progress.spent());
  }

  static void tell_profile(const planning::Cluster& cluster, const fs::path& path,
                           const std::string& spent) {
    const planning::Device& device = cluster.device;
    for (const auto& [type, peak] : device.peak) {
      print_row("peak " + type,
                fmt::format("{:.1f} GFLOP/s a rank, of which large products reach {:.0f} %",
                            peak.value * 1e-9, 100 * device.matrix_efficiency.value),
                20);
    }
    print_row("memory", fmt::format("{:.1f} GB/s a rank, all at once",
                                    device.memory_bandwidth.value * 1e-9), 20);
    const auto products = device.measured.find(std::string(planning::crowd_products));
    const auto streams = device.measured.find(std::string(planning::crowd_streams));
    if (products != device.measured.end() && streams != device.measured.end()) {
      print_row("a rank alone",
                fmt::format("products take 1/{:.2f} of the time, streams 1/{:.2f}",
                            products->second.values.back(), streams->second.values.back()),
                20);
    }
    for (const planning::Level& level : cluster.levels) {
      std::string text = fmt::format("{:.3g} us, {:.3g} GB/s", level.latency.value * 1e6,
                                     level.bandwidth.value * 1e-9);
      if (level.beside_slowdown) {
        text += fmt::format("; beside a computation {:.2f} times as long, and {:.0f} % of that time "
                            "the computation stands still",
                            level.beside_slowdown->value, 100 * level.beside_cost->value);
      }
      print_row(level.name, text, 20);
    }
    constexpr double steady = 1.15;
    if (cluster.condition && cluster.condition->apart > steady) {
      fmt::print("The machine changed meanwhile: a short probe took up to {:.2f} times as long or as short "
                 "as in\nthe middle. Other work, heat or a host of virtual machines may be why; what was "
                 "measured then is off.\n",
                 cluster.condition->apart.value);
    }
    fmt::print("Measured in {} min; the profile is {}\n", spent, path.string());
  }

  // Throws on all ranks if rank 0 has a problem with the file.
  static void require_no(const std::string& problem, const Communicator& world) {
    std::int32_t bad = problem.empty() ? 0 : 1;
    broadcast(world, &bad, 1, DType::i32, 0);
    if (bad == 0) return;
    // The others have nothing to add: what they would say is not printed when rank 0 says it.
    throw UsageError("tune", broadcast_text(world, problem), "choose another file with --output");
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

  std::string output_, profile_, what_ = "all";
  bool quick_ = false;
  Bytes max_bytes_ = Bytes{16} << 20;
  bench::TuneOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_tune_command() { return std::make_unique<TuneCommand>(); }

}  // namespace shoal::launch
