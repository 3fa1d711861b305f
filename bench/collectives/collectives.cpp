// shoal bench collectives: the table, its rows for programs, and its picture.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/runtime.hpp>
#include <shoal/runtime/wait.hpp>

#include "collectives/bound.hpp"
#include "collectives/child.hpp"
#include "collectives/contest.hpp"
#include "collectives/crossing.hpp"
#include "collectives/forced.hpp"
#include "collectives/peers.hpp"
#include "collectives/plot.hpp"
#include "report.hpp"
#include "timing.hpp"

namespace shoal::bench {
namespace {

constexpr const char* mpi_name = "mpi";
constexpr double microseconds = 1e6;

std::vector<Operation> operations_of(const std::vector<std::string>& names) {
  std::vector<Operation> chosen;
  for (const Operation operation : all_operations) {
    const auto named = [&](const std::string& name) {
      return name == "all" || name == name_of(operation);
    };
    if (std::any_of(names.begin(), names.end(), named)) chosen.push_back(operation);
  }
  for (const std::string& name : names) {
    const auto is = [&](Operation operation) { return name == name_of(operation); };
    if (name != "all" && std::none_of(std::begin(all_operations), std::end(all_operations), is)) {
      throw UsageError("--ops", "there is no operation '" + name + "'",
                       "choose of all_reduce, reduce_scatter, all_gather, broadcast, all_to_all, "
                       "barrier, all");
    }
  }
  return chosen;
}

// Names to try, and whether each must be possible.
struct Wanted {
  std::vector<std::string> names;
  bool all = false;
};

Wanted algorithms_of(const CollectivesOptions& options, Operation operation) {
  Wanted wanted;
  for (const std::string& name : options.algorithms) {
    if (name == "all") {
      wanted.all = true;
      wanted.names.insert(wanted.names.end(), {"auto", "reproducible"});
      for (const Algorithm* algorithm : algorithms(operation)) {
        if (algorithm->name() != mpi_name) wanted.names.emplace_back(algorithm->name());
      }
    } else {
      wanted.names.push_back(name);
    }
  }
  return wanted;
}

// Names that no chosen operation has are mistakes; one that only some have is left out elsewhere.
void require_known(const CollectivesOptions& options, const std::vector<Operation>& operations) {
  for (const std::string& name : options.algorithms) {
    if (name == "all" || name == "auto" || name == "reproducible") continue;
    std::optional<UsageError> unknown;
    bool known = false;
    for (const Operation operation : operations) {
      try {
        find_algorithm(operation, name);
        known = true;
      } catch (const UsageError& error) {
        unknown = error;
      }
    }
    if (!known && unknown) throw UsageError(*unknown);
  }
}

std::string size_text(Bytes bytes) {
  for (const auto& [unit, shift] : {std::pair{"G", 30}, {"M", 20}, {"K", 10}}) {
    const Bytes size = Bytes{1} << shift;
    if (bytes >= size && bytes % size == 0) return fmt::format("{}{}", bytes >> shift, unit);
  }
  return std::to_string(bytes);
}

// The whole bench, on all ranks; rank 0 speaks.
class Bench {
 public:
  Bench(const Communicator& world, const CollectivesOptions& options)
      : world_(world),
        options_(options),
        operations_(operations_of(options.operations)),
        report_(world, options.json),
        speaks_(world.rank() == 0) {
    require_known(options, operations_);
    require_plot_file();
    peers_ = find_peers(world, options.peers);
    forces_ = std::find(options.peers.begin(), options.peers.end(), "forced") != options.peers.end();
    link_ = measure_link(world);
    if (options.link_bytes_per_second > 0) link_.bytes_per_second = options.link_bytes_per_second;
  }

  void run() {
    if (speaks_ && !world_.on_one_node()) {
      fmt::print("The slowest link between nodes: {:.1f} us, {:.1f} MB/s{}\n\n",
                 link_.alpha * microseconds, link_.bytes_per_second / 1e6,
                 options_.link_bytes_per_second > 0 ? " (as given)" : " (measured)");
    }
    // Other ranks on these two cores would be in between.
    const bool crosses = world_.on_one_node() && world_.size() > 1 && ranks_own_their_cores();
    if (crosses) print_crossing("before");
    for (const Operation operation : operations_) measure(operation);
    if (speaks_) print_legend();
    if (crosses) print_crossing("after");
    report_.write();
    plot([&] { write_plot(panels_, options_.plot); });
  }

 private:
  std::vector<Bytes> sizes_for(Operation operation) const {
    if (operation == Operation::barrier) return {0};
    std::vector<Bytes> sizes;
    Bytes least = size_of(options_.dtype);
    if (operation != Operation::all_reduce && operation != Operation::broadcast) {
      least *= static_cast<Bytes>(world_.size());
    }
    for (Bytes bytes = options_.min_bytes; bytes <= options_.max_bytes; bytes *= options_.step) {
      if (bytes >= least) sizes.push_back(bytes);
      if (bytes > options_.max_bytes / options_.step) break;  // the next one may not be a number
    }
    return sizes;
  }

  void measure(Operation operation) {
    const std::vector<Bytes> sizes = sizes_for(operation);
    std::vector<std::map<Bytes, double>> peer_times;
    for (const auto& peer : peers_) {
      peer_times.push_back(peer->time(
          {operation, options_.dtype, options_.op, options_.seconds_per_size / 4, sizes}));
    }
    forced_.clear();
    if (forces_) forced_ = forced_algorithms(world_, operation);
    if (speaks_) print_head(operation);
    Panel panel;
    panel.title = title(operation);
    const Wanted wanted = algorithms_of(options_, operation);
    for (const Bytes bytes : sizes) {
      measure_size(operation, bytes, wanted, peer_times, panel);
    }
    if (speaks_) fmt::print("\n");
    if (operation != Operation::barrier) panels_.push_back(std::move(panel));
  }

  void measure_size(Operation operation, Bytes bytes, const Wanted& wanted,
                    const std::vector<std::map<Bytes, double>>& peer_times, Panel& panel) {
    Contest contest(world_, operation, options_.dtype, options_.op, options_.memory, bytes,
                    options_.in_place && operation == Operation::all_reduce);
    const std::vector<std::string> apply = contest.those_that_apply(wanted.names);
    if (apply.empty() && !wanted.all) {
      // Says why, if it is the only one that was asked for.
      for (const std::string& name : wanted.names) {
        if (operations_.size() == 1) contest.run(name);
      }
    }
    std::vector<std::function<void()>> calls;
    calls.emplace_back([&] { contest.run(mpi_name); });
    const auto ways = contest.memory_ways();
    const std::size_t first = 1 + ways.size();  // of our algorithms
    calls.insert(calls.end(), ways.begin(), ways.end());
    for (const std::string& name : apply) calls.emplace_back([&] { contest.run(name); });
    for (const Forced& forced : forced_) {
      calls.emplace_back([&] { contest.run_on(forced.comm, mpi_name); });
    }
    const double wire = wire_bound(operation, contest.bytes(), world_, link_);
    const std::vector<double> medians = interleaved_medians(
        world_, calls, options_.seconds_per_size, 7, 2, settling_time(world_, wire, link_.alpha));
    const double mpi = medians[0];
    const Best best = best_of(medians, first + apply.size());
    const double bound =
        operation == Operation::barrier && world_.on_one_node()
            ? 0
            : std::max(*std::min_element(medians.begin() + 1,
                                         medians.begin() + static_cast<std::ptrdiff_t>(first)),
                       wire);
    std::vector<std::optional<double>> others;
    for (const auto& times : peer_times) {
      const auto found = times.find(bytes);
      others.push_back(found == times.end() ? std::nullopt : std::optional(found->second));
    }
    for (std::size_t i = 0; i < apply.size(); ++i) {
      contest.check(apply[i]);
      const double seconds = medians[first + i];
      if (speaks_) print_row(contest.bytes(), apply[i], seconds, bound, mpi, best, others);
      add_row(operation, contest.bytes(), apply[i], seconds, bound, mpi, best, others);
      add_point(panel, apply[i], Series::Kind::ours, contest.bytes(), seconds);
    }
    add_point(panel, "MPI", Series::Kind::peer, contest.bytes(), mpi);
    for (std::size_t i = 0; i < others.size(); ++i) {
      if (others[i]) {
        add_point(panel, peers_[i]->name(), Series::Kind::peer, contest.bytes(), *others[i]);
      }
    }
    if (bound > 0) add_point(panel, "bound", Series::Kind::bound, contest.bytes(), bound);
  }

  // What MPI can do at best.
  struct Best {
    double seconds = 0;
    std::string algorithm;
  };
  Best best_of(const std::vector<double>& medians, std::size_t first) const {
    Best best;
    for (std::size_t i = 0; i < forced_.size(); ++i) {
      if (best.algorithm.empty() || medians[first + i] < best.seconds) {
        best = {medians[first + i], forced_[i].name};
      }
    }
    return best;
  }

  std::string title(Operation operation) const {
    std::string text(name_of(operation));
    if (operation != Operation::barrier) text += fmt::format(" of {}", name_of(options_.dtype));
    if (reduces(operation)) text += fmt::format(" ({})", name_of(options_.op));
    text += fmt::format(" over {} rank{} on {} node{}", world_.size(),
                        world_.size() == 1 ? "" : "s", world_.node_count(),
                        world_.node_count() == 1 ? "" : "s");
    if (operation != Operation::barrier) {
      text += options_.memory == Memory::local ? ", local memory" : ", node-shared memory";
      if (options_.in_place && operation == Operation::all_reduce) text += ", in place";
    }
    return text;
  }

  void print_head(Operation operation) const {
    fmt::print("{}\n{:>7} {:<20} {:>10} {:>10} {:>7} {:>6}", title(operation), "bytes", "algorithm",
               "time us", "bound us", "/bound", "MPI");
    if (forces_) fmt::print(" {:>6} {:<12}", "best", "of MPI's");
    for (const auto& peer : peers_) fmt::print(" {:>6}", peer->name());
    fmt::print("\n");
  }

  void print_row(Bytes bytes, const std::string& algorithm, double seconds, double bound,
                 double mpi, const Best& best,
                 const std::vector<std::optional<double>>& others) const {
    fmt::print("{:>7} {:<20.20} {:>10.2f}", size_text(bytes), algorithm, seconds * microseconds);
    if (bound > 0) {
      fmt::print(" {:>10.2f} {:>7}", bound * microseconds, ratio(seconds / bound));
    } else {
      fmt::print(" {:>10} {:>7}", "-", "-");
    }
    fmt::print(" {:>6}", ratio(mpi / seconds));
    if (forces_) fmt::print(" {:>6} {:<12.12}", ratio(best.seconds / seconds), best.algorithm);
    for (const auto& other : others) fmt::print(" {:>6}", other ? ratio(*other / seconds) : "-");
    fmt::print("\n");
    std::fflush(stdout);
  }

  // "0.87", "12.3", "1234".
  static std::string ratio(double value) {
    return fmt::format("{:.{}f}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
  }

  void add_row(Operation operation, Bytes bytes, const std::string& algorithm, double seconds,
               double bound, double mpi, const Best& best,
               const std::vector<std::optional<double>>& others) {
    Row row;
    row.op = name_of(operation);
    row.bytes = bytes;
    row.algorithm = algorithm;
    row.median_us = seconds * microseconds;
    row.peer = "MPI (" + Runtime::mpi_version() + ")";
    row.peer_us = mpi * microseconds;
    if (bound > 0) row.bound_us = bound * microseconds;
    row.notes = {{"dtype", std::string(name_of(options_.dtype))},
                 {"reduce_op", std::string(name_of(options_.op))},
                 {"memory", options_.memory == Memory::local ? "local" : "node_shared"},
                 {"nodes", std::to_string(world_.node_count())}};
    if (options_.in_place && row.op == name_of(Operation::all_reduce)) row.notes["in_place"] = "yes";
    if (forces_) {
      row.more["best forced MPI us"] = best.seconds * microseconds;
      row.notes["best_forced_mpi"] = best.algorithm;
    }
    for (std::size_t i = 0; i < others.size(); ++i) {
      if (others[i]) row.more[peers_[i]->title() + " us"] = *others[i] * microseconds;
    }
    report_.add(std::move(row));
  }

  static void add_point(Panel& panel, const std::string& name, Series::Kind kind, Bytes bytes,
                        double seconds) {
    auto series = std::find_if(panel.series.begin(), panel.series.end(),
                               [&](const Series& known) { return known.name == name; });
    if (series == panel.series.end()) {
      panel.series.push_back({name, kind, {}});
      series = panel.series.end() - 1;
    }
    series->points.emplace_back(static_cast<double>(bytes), seconds);
  }

  void print_crossing(const char* when) const {
    const Crossing crossing = measure_crossing(world_);
    if (!speaks_) return;
    fmt::print("Cores {}: two ranks meet in {:.2f} us, fresh data is copied at {:.1f} GB/s.\n\n",
               when, crossing.meeting * microseconds, crossing.bytes_per_second * 1e-9);
  }

  void print_legend() const {
    fmt::print("Times are medians of the slowest rank; results were checked. On the right:\n"
               "how many times as long MPI ({})",
               Runtime::mpi_version());
    for (const auto& peer : peers_) fmt::print(",\n{}", peer->title());
    fmt::print(" takes.\n");
    if (forces_) {
      fmt::print("Best: the quickest of all algorithms that Open MPI can be forced to take.\n");
    }
    fmt::print("Bound: all ranks at once read and write the memory that they must, in the\n"
               "quickest of some plain loops{}{}.\n",
               ranks_own_their_cores() ? "" : ", and meet, since they share cores",
               world_.on_one_node() ? "" : ",\nor the bytes that a node's link must carry");
    fmt::print("MPI took turns with each row in the same process{}.\n",
               peers_.empty() ? "" : ", the others ran just before");
    if (!world_.on_one_node()) {
      fmt::print(
          "A turn's calls have gone on for {:.0f} ms before it is timed, {:.0f} where latency is\n"
          "most of it: links then carry what they do steadily, with no burst saved up.\n",
          settled_bytes * 1e3, settled_latency * 1e3);
    }
  }

  // What goes wrong on rank 0 is said on all.
  void plot(const std::function<void()>& work) const {
    if (options_.plot.empty()) return;
    std::string problem;
    try {
      if (speaks_) work();
    } catch (const Error& error) {
      problem = error.message();
    }
    problem = broadcast_text(world_, problem);
    if (!problem.empty()) throw UsageError("bench collectives", problem);
  }

  // Before minutes are spent on what cannot be written.
  void require_plot_file() const {
    plot([&] {
      if (!std::ofstream(options_.plot)) {
        throw Error("--plot", "cannot write " + options_.plot,
                    "name a file in a folder that exists, ending in .svg or .png");
      }
      require_plotter();
    });
  }

  const Communicator& world_;
  const CollectivesOptions& options_;
  std::vector<Operation> operations_;
  Report report_;
  bool speaks_;
  std::vector<std::unique_ptr<Peer>> peers_;
  bool forces_ = false;
  std::vector<Forced> forced_;  // of the operation being measured
  Link link_;
  std::vector<Panel> panels_;
};

}  // namespace

void collectives(const Communicator& world, const CollectivesOptions& options) {
  if (options.min_bytes > options.max_bytes) {
    throw UsageError("bench collectives",
                     fmt::format("the smallest size, {}, is more than the largest, {}",
                                 options.min_bytes, options.max_bytes));
  }
  Bench(world, options).run();
}

}  // namespace shoal::bench
