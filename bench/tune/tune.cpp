// shoal tune: measures what the tuning table holds.
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/caches.hpp>
#include <shoal/runtime/cores.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/runtime.hpp>
#include <shoal/runtime/topology.hpp>
#include <shoal_version.h>

#include "collectives/bound.hpp"
#include "collectives/contest.hpp"
#include "report.hpp"
#include "timing.hpp"
#include "tune/fit.hpp"

namespace shoal::bench {
namespace {

// An algorithm this much slower than the best of a size is not tried at the next ones: none of them
// gets better by that much within a factor of four.
constexpr double hopeless = 4;
// Sizes of which the best takes longer than this are not measured: what is best there is best below.
constexpr double longest_call = 0.15;
// Of two that are that close, the one that was chosen for the size before stays.
constexpr double close = 0.97;
constexpr int fewest_repetitions = 3;
constexpr int untimed_calls = 2;

// Ranks to measure on together: on each of the first `nodes` nodes the first `each` ranks.
struct GroupShape {
  int nodes, each;
};

std::vector<int> doublings_up_to(int most) {
  std::vector<int> values;
  for (int value = 2; value < most; value *= 2) values.push_back(value);
  if (most >= 2) values.push_back(most);
  return values;
}

// A rank's number among those of its node.
int place_on_node(const Communicator& world, Rank rank) {
  int place = 0;
  for (Rank other = 0; other < rank; ++other) place += world.node_of(other) == world.node_of(rank);
  return place;
}

std::vector<int> ranks_by_node(const Communicator& world) {
  std::vector<int> ranks(static_cast<std::size_t>(world.node_count()), 0);
  for (Rank rank = 0; rank < world.size(); ++rank) {
    ++ranks[static_cast<std::size_t>(world.node_of(rank))];
  }
  return ranks;
}

std::vector<GroupShape> shapes_of(const Communicator& world) {
  const std::vector<int> ranks = ranks_by_node(world);
  std::vector<GroupShape> shapes;
  for (const int each : doublings_up_to(ranks[0])) shapes.push_back({1, each});
  const int common = *std::min_element(ranks.begin(), ranks.end());
  for (const int nodes : doublings_up_to(world.node_count())) {
    shapes.push_back({nodes, 1});
    if (common > 1) shapes.push_back({nodes, common});
  }
  return shapes;
}

std::vector<Memory> memories_of(const GroupShape& shape) {
  // Between nodes no algorithm asks where a buffer lies.
  if (shape.nodes > 1) return {Memory::local};
  return {Memory::local, Memory::node_shared};
}

// Parameters on trial, the same on all ranks of a group.
void try_out(const std::map<Parameter, Bytes>& parameters) {
  TuningTable table;
  table.parameters = parameters;
  use_tuning(table);
}

class Tuner {
 public:
  Tuner(const Communicator& world, const TuneOptions& options)
      : world_(world), options_(options), shapes_(shapes_of(world)) {
    for (Bytes bytes = 8; bytes <= options.max_bytes; bytes *= 4) sizes_.push_back(bytes);
    total_ = 2 + 4;  // levels and parameters
    for (const GroupShape& shape : shapes_) {
      for (std::size_t i = 0; i < memories_of(shape).size(); ++i) {
        for (const Operation operation : all_operations) total_ += count_of_sizes(operation);
      }
    }
  }

  TuningTable run() {
    // What is there already must not decide what is measured.
    use_tuning(TuningTable{});
    try {
      measure_levels();
      measure_parameters();
      try_out(table_.parameters);
      for (const GroupShape& shape : shapes_) measure_group(shape);
    } catch (...) {
      use_tuning(std::nullopt);
      throw;
    }
    use_tuning(std::nullopt);
    describe();
    return std::move(table_);
  }

 private:
  int count_of_sizes(Operation operation) const {
    return operation == Operation::barrier ? 1 : static_cast<int>(sizes_.size());
  }

  void step(const std::string& what, int steps = 1) {
    done_ += steps;
    if (options_.progress && world_.rank() == 0) options_.progress(done_, total_, what);
  }

  void measure_levels() {
    constexpr Bytes most = Bytes{32} << 20;
    Rank near = -1;
    Rank far = -1;
    for (Rank rank = world_.size() - 1; rank > 0; --rank) {
      (world_.node_of(rank) == world_.node_of(0) ? near : far) = rank;
    }
    step("messages within a node");
    if (near > 0) table_.within_node = measure_level(world_, 0, near, most);
    step("messages between nodes");
    if (far > 0) table_.between_nodes = measure_level(world_, 0, far, most);
    link_ = measure_link(world_);
  }

  // The communicator of a shape's ranks; null on the others.
  std::unique_ptr<Communicator> group_of(const GroupShape& shape) const {
    const bool in = world_.node_of(world_.rank()) < shape.nodes &&
                    place_on_node(world_, world_.rank()) < shape.each;
    auto group = std::make_unique<Communicator>(
        world_.split(in ? 0 : 1, world_.rank(), fmt::format("tune {}x{}", shape.nodes, shape.each)));
    if (!in) group.reset();
    return group;
  }

  void measure_parameters() {
    const int each = ranks_by_node(world_)[0];
    if (each < 2) return step("parameters", 4);
    const std::unique_ptr<Communicator> group = group_of({1, each});
    step("parameter node.inline_bytes");
    if (group) tune_inline(*group);
    barrier(world_);
    step("parameter node.stage_bytes");
    if (group) tune_stage(*group);
    barrier(world_);
    step("parameter memory.stream_bytes");
    if (group) tune_stream(*group, Parameter::stream_bytes, Memory::node_shared, Bytes{16} << 20);
    barrier(world_);
    step("parameter memory.stage_stream_bytes");
    if (group) tune_stream(*group, Parameter::stage_stream_bytes, Memory::local, Bytes{64} << 20);
    barrier(world_);
  }

  std::vector<double> medians(const Communicator& comm,
                              const std::vector<std::function<void()>>& calls, double seconds,
                              double settled = 0) {
    return interleaved_medians(comm, calls, seconds, fewest_repetitions, untimed_calls, settled);
  }

  // The longest message for which the slot is the quicker way.
  void tune_inline(const Communicator& group) {
    const auto [least, most] = limits_of(Parameter::inline_bytes);
    Bytes best = least;
    for (Bytes bytes = most; bytes >= 64 && best == least; bytes /= 2) {
      Contest contest(group, Operation::all_reduce, DType::f32, ReduceOp::sum, Memory::node_shared,
                      bytes);
      std::vector<std::function<void()>> calls;
      for (const Bytes limit : {most, least}) {
        calls.emplace_back([&contest, limit] {
          try_out({{Parameter::inline_bytes, limit}});
          for (int i = 0; i < 50; ++i) contest.run("auto");
        });
      }
      const std::vector<double> times = medians(group, calls, 4 * options_.seconds_per_size);
      if (times[0] <= times[1]) best = bytes;
    }
    try_out({});
    table_.parameters[Parameter::inline_bytes] = best;
  }

  void tune_stage(const Communicator& group) {
    const std::vector<Bytes> candidates = {Bytes{64} << 10, Bytes{128} << 10, Bytes{256} << 10,
                                           Bytes{512} << 10, Bytes{1} << 20};
    std::vector<Communicator> groups;
    std::vector<std::unique_ptr<Contest>> contests;
    std::vector<std::function<void()>> calls;
    groups.reserve(candidates.size());
    for (const Bytes candidate : candidates) {
      try_out({{Parameter::stage_bytes, candidate}});
      groups.push_back(group.duplicate(group.name()));
      contests.push_back(std::make_unique<Contest>(groups.back(), Operation::all_reduce, DType::f32,
                                                   ReduceOp::sum, Memory::local, Bytes{4} << 20));
      Contest* contest = contests.back().get();
      contest->run("auto");  // makes the stages, of this size
      calls.emplace_back([contest] { contest->run("auto"); });
    }
    try_out({});
    const std::vector<double> times = medians(group, calls, 12 * options_.seconds_per_size);
    const auto best = std::min_element(times.begin(), times.end()) - times.begin();
    table_.parameters[Parameter::stage_bytes] = candidates[static_cast<std::size_t>(best)];
  }

  // From which size on it pays to write past the caches, on buffers of one kind; what the built-in rule says if
  // it does not at the largest.
  void tune_stream(const Communicator& group, Parameter which, Memory memory, Bytes most) {
    Bytes best = 0;
    for (Bytes bytes = most; bytes >= Bytes{256} << 10; bytes /= 2) {
      Contest contest(group, Operation::all_reduce, DType::f32, ReduceOp::sum, memory, bytes);
      std::vector<std::function<void()>> calls;
      for (const Bytes threshold : {Bytes{1}, limits_of(which).second}) {
        calls.emplace_back([&contest, which, threshold] {
          try_out({{which, threshold}});
          contest.run("auto");
        });
      }
      const std::vector<double> times = medians(group, calls, 4 * options_.seconds_per_size);
      if (times[0] > times[1]) break;
      // An all-reduce touches input and output.
      best = bytes_on_core(2 * bytes, group.size(), node_threads());
    }
    try_out({});
    table_.parameters[which] = best;
  }

  void measure_group(const GroupShape& shape) {
    const std::unique_ptr<Communicator> group = group_of(shape);
    for (const Memory memory : memories_of(shape)) {
      for (const Operation operation : all_operations) {
        const std::string what = fmt::format("{} over {} rank{} on {} node{}", name_of(operation),
                                             shape.nodes * shape.each,
                                             shape.nodes * shape.each == 1 ? "" : "s", shape.nodes,
                                             shape.nodes == 1 ? "" : "s");
        const int before = done_;
        if (group) measure_operation(*group, operation, memory, what);
        done_ = before;
        step(what, count_of_sizes(operation));
        // The ranks that only look on wait here, and no longer than one operation takes.
        barrier(world_);
      }
    }
  }

  void measure_operation(const Communicator& group, Operation operation, Memory memory,
                         const std::string& what) {
    TuningTable::Entry entry;
    entry.group = {operation, group.size(), group.node_count(), memory};
    std::set<std::string> left_out;
    const std::vector<Bytes> sizes =
        operation == Operation::barrier ? std::vector<Bytes>{0} : sizes_;
    for (const Bytes bytes : sizes) {
      step(what);
      Contest contest(group, operation, DType::f32, ReduceOp::sum, memory, bytes);
      std::vector<std::string> names;
      for (const Algorithm* algorithm : algorithms(operation)) {
        if (left_out.count(std::string(algorithm->name())) == 0) names.emplace_back(algorithm->name());
      }
      names = contest.those_that_apply(names);
      std::vector<std::function<void()>> calls;
      for (const std::string& name : names) calls.emplace_back([&contest, name] { contest.run(name); });
      const std::vector<double> times = medians(
          group, calls, options_.seconds_per_size * static_cast<double>(names.size()),
          settling_time(group, wire_bound(operation, contest.bytes(), group, link_), link_.alpha));
      TuningTable::Point point;
      point.bytes = bytes;
      double best = 1e300;
      double before = 1e300;
      for (std::size_t i = 0; i < names.size(); ++i) {
        point.microseconds[names[i]] = times[i] * 1e6;
        if (names[i] == "mpi") continue;  // the reference, never a choice
        if (!entry.points.empty() && names[i] == entry.points.back().algorithm) before = times[i];
        if (times[i] < best) {
          best = times[i];
          point.algorithm = names[i];
        }
      }
      if (point.algorithm.empty()) break;
      if (before * close <= best) point.algorithm = entry.points.back().algorithm;
      for (std::size_t i = 0; i < names.size(); ++i) {
        if (times[i] > hopeless * best) left_out.insert(names[i]);
      }
      entry.points.push_back(std::move(point));
      if (best > longest_call) break;
    }
    table_.entries.push_back(std::move(entry));
  }

  void describe() {
    const Machine machine = local_machine();
    std::set<std::string> hosts;
    for (Rank rank = 0; rank < world_.size(); ++rank) hosts.insert(world_.host_of(rank));
    std::string names;
    for (const std::string& host : hosts) names += (names.empty() ? "" : " ") + host;
    const auto level = [](const std::optional<Network>& network) {
      if (!network) return std::string("not measured: no two such ranks");
      return fmt::format("{:.3g} us, {:.4g} MB/s", network->alpha * 1e6, 1e-6 / network->beta);
    };
    table_.provenance = {
        {"processor", machine.processor},
        {"date", utc_now()},
        {"hosts", names},
        {"nodes", std::to_string(world_.node_count())},
        {"ranks", std::to_string(world_.size())},
        {"shoal", fmt::format("{} ({})", SHOAL_VERSION, SHOAL_GIT_REVISION)},
        {"mpi", Runtime::mpi_version()},
        {"link_within_node", level(table_.within_node)},
        {"link_between_nodes", level(table_.between_nodes)},
        {"how", fmt::format("medians of the slowest rank, algorithms in turns, about {} s each; f32 "
                            "sums; links by two ranks that send to each other at once",
                            options_.seconds_per_size)}};
  }

  const Communicator& world_;
  const TuneOptions& options_;
  std::vector<GroupShape> shapes_;
  std::vector<Bytes> sizes_;
  TuningTable table_;
  Link link_;  // between nodes
  int done_ = 0, total_ = 0;
};

}  // namespace

TuningTable tune(const Communicator& world, const TuneOptions& options) {
  if (world.size() < 2) {
    throw UsageError("tune", "there is one rank, and so nothing to measure",
                     "start it on all ranks of the cluster: shoal run [--hosts ...] -- tune");
  }
  return Tuner(world, options).run();
}

}  // namespace shoal::bench
