#include "dispatch.hpp"

#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <tuple>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/flight_recorder.hpp>
#include <shoal/runtime/settings.hpp>
#include <shoal/runtime/trace.hpp>

#include "check/agreement.hpp"
#include "exact/exact.hpp"
#include "node/node_collectives.hpp"
#include "reduce/reduce.hpp"
#include "tcp/connections.hpp"
#include "tuning/choices.hpp"
#include "tuning/current.hpp"

namespace shoal {
namespace {

std::string title(const Call& call) {
  return std::string(name_of(call.operation)) + " over " + call.comm->name();
}

// What all ranks of a node do together where they can: it beats messages at every size.
bool run_on_node(const Call& call) {
  switch (call.operation) {
    case Operation::all_reduce: return node_all_reduce(call, NodePath::any);
    case Operation::reduce_scatter: return node_reduce_scatter(call, NodePath::any);
    case Operation::all_gather: return node_all_gather(call, NodePath::any);
    case Operation::broadcast: return node_broadcast(call, NodePath::any);
    case Operation::all_to_all: return node_all_to_all(call, NodePath::any);
    case Operation::barrier: return node_barrier(call, NodePath::any);
  }
  return false;
}

// `reproducible`: of those that can be.
const Algorithm& cheapest(const Call& call, const Network& network, bool reproducible) {
  const Algorithm* best = nullptr;
  Seconds best_cost{0};
  for (const Algorithm* algorithm : algorithms(call.operation)) {
    if (algorithm->name() == "mpi" || !algorithm->why_not(call).empty()) continue;
    if (reproducible && !algorithm->reproduces()) continue;
    const Seconds cost = algorithm->cost(call.bytes(), call.comm->size(), network);
    if (best == nullptr || cost < best_cost) {
      best = algorithm;
      best_cost = cost;
    }
  }
  return *best;
}

// What the cost model has chosen on a communicator: a program makes the same few calls over and over.
class Model {
 public:
  explicit Model(const Communicator& comm) : network_(typical_network(comm)) {}
  const Network& network() const noexcept { return network_; }

  const Algorithm& cheapest(const Call& call, bool reproducible) {
    constexpr std::size_t most = 256;
    if (made_.size() >= most) made_.clear();
    const Algorithm*& choice = made_[{call.operation, call.bytes(), reproducible}];
    if (choice == nullptr) choice = &shoal::cheapest(call, network_, reproducible);
    return *choice;
  }

 private:
  const Network network_;
  std::map<std::tuple<Operation, Bytes, bool>, const Algorithm*> made_;
};

Model& model_of(const Communicator& comm) { return comm.extension<Model>(); }

flight::Call call_record(const Call& call) {
  flight::Call record;
  record.operation = name_of(call.operation).data();
  record.count = call.operation == Operation::barrier ? -1 : call.count;
  record.type = call.type;
  record.op = call.op;
  record.reduces = call.operation == Operation::all_reduce ||
                   call.operation == Operation::reduce_scatter;
  if (call.operation == Operation::broadcast) record.peer = call.root;
  return record;
}

// The table's choice if it can do the call, else the model's. All ranks must come to the same: where
// each has counts of its own, how much that is decides nothing.
const Algorithm& best_for(const Call& asked) {
  Call call = asked;
  if (call.operation == Operation::all_to_all && !call.receive_counts.empty()) call.count = 0;
  Choices& choices = choices_of(*call.comm);
  const Algorithm* tuned = choices.tuned(call);
  const Algorithm& best = tuned != nullptr && tuned->why_not(call).empty()
                              ? *tuned
                              : model_of(*call.comm).cheapest(call, false);
  if (choices.tells()) {
    choices.tell(call, best.name(),
                 best.cost(call.bytes(), call.comm->size(), model_of(*call.comm).network()));
  }
  return best;
}

void run_checked(const Call& call, const Algorithm& algorithm, std::string_view asked_for,
                 flight::Scope& record) {
  record.set_algorithm(algorithm.name().data());
  if (!algorithm.name().starts_with("node_")) {
    check_agreement(call, record.sequence(), asked_for);
    // Not every rank may come to where they are first used.
    if (!call.comm->on_one_node() && algorithm.name() != "mpi") {
      call.comm->extension<tcp::Connections>();
    }
  }
  algorithm.run(call);
}

// Sums that are to be the same whatever adds them; other reductions at least in the order of ranks.
bool must_reproduce(const Call& call, const CollectiveOptions& options) {
  return (options.reproducible || settings().reproducible) && is_floating(call.type) &&
         (call.operation == Operation::all_reduce || call.operation == Operation::reduce_scatter);
}

void run_reproducibly(const Call& asked, const CollectiveOptions& options, flight::Scope& record) {
  Call call = asked;
  call.op = exact_form(asked.op, asked.type);
  if (options.algorithm.empty()) {
    if (why_no_node_path(call).empty()) {
      record.set_algorithm("node");
      run_on_node(call);
      return;
    }
    return run_checked(call, model_of(*call.comm).cheapest(call, true), "reproducible", record);
  }
  const Algorithm& algorithm = find_algorithm(call.operation, options.algorithm);
  std::string why_not = algorithm.why_not(call);
  if (why_not.empty() && !algorithm.reproduces()) why_not = "it adds partial sums, which are rounded";
  if (!why_not.empty()) {
    throw Error(title(asked), options.algorithm + " cannot do it reproducibly: " + why_not,
                "choose one that brings all inputs together at once, or none");
  }
  run_checked(call, algorithm, algorithm.name(), record);
}

}  // namespace

void run_collective(const Call& call, const CollectiveOptions& options) {
  const trace::Span span(name_of(call.operation).data(), trace::Category::communication,
                         call.bytes());
  flight::Scope record(*call.comm, call_record(call));
  if (must_reproduce(call, options)) return run_reproducibly(call, options, record);
  if (options.algorithm.empty()) {
    if (why_no_node_path(call).empty()) {
      if (node_choices_matter()) {
        Choices& choices = choices_of(*call.comm);
        const Algorithm* tuned = choices.tuned(call);
        if (tuned != nullptr && tuned->why_not(call).empty()) {
          choices.tell(call, tuned->name(), Seconds{0});
          return run_checked(call, *tuned, "", record);
        }
        choices.tell(call, "node", Seconds{0});
      }
      record.set_algorithm("node");  // where the ranks compare their calls in any case
      run_on_node(call);
      return;
    }
    return run_checked(call, best_for(call), "", record);
  }
  const Algorithm& algorithm = find_algorithm(call.operation, options.algorithm);
  const std::string why_not = algorithm.why_not(call);
  if (!why_not.empty()) {
    throw Error(title(call), options.algorithm + " cannot do it: " + why_not,
                "choose another algorithm, or none");
  }
  run_checked(call, algorithm, algorithm.name(), record);
}

void run_with(const Call& call, const Algorithm& algorithm) {
  const trace::Span span(name_of(call.operation).data(), trace::Category::communication,
                         call.bytes());
  flight::Scope record(*call.comm, call_record(call));
  run_checked(call, algorithm, "", record);
}

void reduce_alone(const Call& call, const CollectiveOptions& options) {
  const void* in = call.in;
  void* out = call.out;
  if (must_reproduce(call, options)) {
    // Gives the only NaN that such sums have, too.
    const ReduceOp op = exact_form(call.op, call.type);
    reduce_elements(&in, 1, &out, 1, call.count, call.type, op, 1, false);
  } else if (in != out && call.count > 0) {
    std::memmove(out, in, call.bytes());
  }
}

void require_count(const Call& call, Index count, const char* what) {
  if (count < 0) {
    throw Error(title(call), std::string(what) + " is " + std::to_string(count),
                "counts start at 0");
  }
  if (count > std::numeric_limits<Index>::max() / static_cast<Index>(size_of(call.type))) {
    throw Error(title(call), std::string(what) + " of " + std::to_string(count) +
                                 " is more than any memory holds");
  }
}

void require_counts(const Call& call, std::span<const Index> counts) {
  if (counts.size() != static_cast<std::size_t>(call.comm->size())) {
    throw Error(title(call), std::to_string(counts.size()) + " counts for " +
                                 std::to_string(call.comm->size()) + " ranks",
                "pass one count a rank");
  }
  for (const Index count : counts) require_count(call, count, "a count");
}

void require_data(const Call& call, const void* data, Index count, const char* what) {
  if (data == nullptr && count > 0) {
    throw Error(title(call), std::string(what) + " is null, but has " + std::to_string(count) +
                                 " elements");
  }
}

void require_apart(const Call& call, const void* a, Index a_count, const void* b, Index b_count) {
  const auto from_a = reinterpret_cast<std::uintptr_t>(a);
  const auto from_b = reinterpret_cast<std::uintptr_t>(b);
  const auto bytes = [&](Index count) { return static_cast<std::uintptr_t>(count) * size_of(call.type); };
  if (a_count > 0 && b_count > 0 && from_a < from_b + bytes(b_count) &&
      from_b < from_a + bytes(a_count)) {
    throw Error(title(call), "input and output overlap",
                "pass separate buffers, or use the in-place form");
  }
}

}  // namespace shoal
