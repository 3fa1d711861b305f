#include <shoal/collectives/all_reduce.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/runtime.hpp>

#include "elements.hpp"
#include "report.hpp"
#include "timing.hpp"

namespace shoal::bench {
namespace {

constexpr const char* peer_name = "mpi";

// Buffers of one size, and the calls on them.
class Contest {
 public:
  Contest(const Communicator& comm, const AllReduceOptions& options, Index count)
      : comm_(comm),
        options_(options),
        count_(count),
        bytes_(static_cast<Bytes>(count) * size_of(options.dtype)),
        in_(bytes_, options.memory),
        out_(bytes_, options.memory) {
    for (Index i = 0; i < count; ++i) {
      set_element(in_.data(), i, options.dtype, test_value(comm.rank(), i));
    }
  }

  void run(const std::string& algorithm) {
    CollectiveOptions how;
    if (algorithm != "auto") how.algorithm = algorithm;
    shoal::all_reduce(comm_, in_.data(), out_.data(), count_, options_.dtype, options_.op, how);
  }

  // All ranks copying at once move as much as an all-reduce must: each input is read once and each
  // output written once.
  void copy() { std::memcpy(out_.data(), in_.data(), bytes_); }

  // Throws on all ranks if the result is wrong on any.
  void check(const std::string& algorithm) {
    std::memset(out_.data(), 0x7f, bytes_);
    run(algorithm);
    Index wrong = count_;
    for (Index i = 0; i < count_ && wrong == count_; ++i) {
      const double expected = expected_value(comm_.size(), i, options_.dtype, options_.op);
      const double got = element(out_.data(), i, options_.dtype);
      if (!(std::abs(got - expected) <= tolerance(options_.dtype, expected))) wrong = i;
    }
    shoal::all_reduce(comm_, &wrong, &wrong, 1, DType::i64, ReduceOp::min);
    if (wrong == count_) return;
    throw Error("bench allreduce",
                fmt::format("{} on {} bytes: element {} is wrong on some rank", algorithm, bytes_,
                            wrong),
                "report this");
  }

 private:
  const Communicator& comm_;
  const AllReduceOptions& options_;
  Index count_;
  Bytes bytes_;
  Storage in_, out_;
};

std::vector<std::string> resolve(const AllReduceOptions& options) {
  std::vector<std::string> names;
  for (const std::string& name : options.algorithms) {
    if (name == "all") {
      for (const Algorithm* algorithm : algorithms(Operation::all_reduce)) {
        if (algorithm->name() != peer_name) names.emplace_back(algorithm->name());
      }
    } else {
      if (name != "auto") find_algorithm(Operation::all_reduce, name);
      names.push_back(name);
    }
  }
  return names;
}

// Some algorithms do not take every call (buffers that are not shared, ranks on several nodes); the
// Error is the same on all ranks.
std::vector<std::string> those_that_apply(Contest& contest, const std::vector<std::string>& names,
                                          bool all_asked) {
  std::vector<std::string> apply;
  for (const std::string& name : names) {
    try {
      contest.run(name);
      apply.push_back(name);
    } catch (const Error&) {
      if (!all_asked) throw;
    }
  }
  return apply;
}

}  // namespace

void all_reduce(const Communicator& world, const AllReduceOptions& options) {
  if (options.min_bytes > options.max_bytes) {
    throw UsageError("bench allreduce",
                     fmt::format("--min-bytes {} is more than --max-bytes {}", options.min_bytes,
                                 options.max_bytes));
  }
  const std::vector<std::string> names = resolve(options);
  const bool all_asked = std::find(options.algorithms.begin(), options.algorithms.end(), "all") !=
                         options.algorithms.end();
  Report report(world, options.json);
  const bool speaks = world.rank() == 0;
  if (speaks) {
    fmt::print("{} of {} over {} rank{}, {} memory, out of place\n", name_of(options.op),
               name_of(options.dtype), world.size(), world.size() == 1 ? "" : "s",
               options.memory == Memory::local ? "local" : "node-shared");
    fmt::print("{:>11} {:<20} {:>11} {:>11} {:>8} {:>11}\n", "bytes", "algorithm", "median us",
               "MPI us", "MPI/this", "bound us");
  }
  const Bytes element_size = size_of(options.dtype);
  for (Bytes bytes = std::max(options.min_bytes, element_size); bytes <= options.max_bytes;
       bytes *= 4) {
    const auto count = static_cast<Index>(bytes / element_size);
    Contest contest(world, options, count);
    const std::vector<std::string> apply = those_that_apply(contest, names, all_asked);
    std::vector<std::function<void()>> calls;
    calls.emplace_back([&] { contest.run(peer_name); });
    calls.emplace_back([&] { contest.copy(); });
    for (const std::string& name : apply) calls.emplace_back([&] { contest.run(name); });
    const std::vector<double> medians =
        interleaved_medians(world, calls, options.seconds_per_size);
    for (std::size_t i = 0; i < apply.size(); ++i) {
      contest.check(apply[i]);
      const double seconds = medians[i + 2];
      if (speaks) {
        fmt::print("{:>11} {:<20} {:>11.2f} {:>11.2f} {:>8.2f} {:>11.2f}\n", bytes, apply[i],
                   seconds * 1e6, medians[0] * 1e6, medians[0] / seconds, medians[1] * 1e6);
        std::fflush(stdout);
      }
      Row row;
      row.op = "all_reduce";
      row.bytes = bytes;
      row.algorithm = apply[i];
      row.median_us = seconds * 1e6;
      row.peer = "MPI_Allreduce (" + Runtime::mpi_version() + ")";
      row.peer_us = medians[0] * 1e6;
      row.bound_us = medians[1] * 1e6;
      row.notes = {{"dtype", std::string(name_of(options.dtype))},
                   {"reduce_op", std::string(name_of(options.op))},
                   {"memory", options.memory == Memory::local ? "local" : "node_shared"}};
      report.add(std::move(row));
    }
  }
  if (speaks) {
    fmt::print("Bound: all ranks at once copy as many bytes (each input read once, each output\n"
               "written once), measured in turns with the rest. Times are those of the slowest\n"
               "rank; results were checked.\n");
  }
  report.write();
}

}  // namespace shoal::bench
