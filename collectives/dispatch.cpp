#include "dispatch.hpp"

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/flight_recorder.hpp>
#include <shoal/runtime/trace.hpp>

#include "check/agreement.hpp"
#include "node/node_collectives.hpp"

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

// What was chosen before on a communicator: a program makes the same few calls over and over.
class Choices {
 public:
  explicit Choices(const Communicator& comm) : network_(typical_network(comm)) {}
  const Algorithm& of(const Call& call);

 private:
  static constexpr std::size_t most_ = 256;
  const Algorithm& cheapest(const Call& call) const;

  const Network network_;
  std::map<std::pair<Operation, Bytes>, const Algorithm*> made_;
};

const Algorithm& Choices::of(const Call& call) {
  if (made_.size() >= most_) made_.clear();
  const Algorithm*& choice = made_[{call.operation, call.bytes()}];
  if (choice == nullptr) choice = &cheapest(call);
  return *choice;
}

const Algorithm& Choices::cheapest(const Call& call) const {
  const Algorithm* best = nullptr;
  Seconds best_cost{0};
  for (const Algorithm* algorithm : algorithms(call.operation)) {
    if (algorithm->name() == "mpi" || !algorithm->why_not(call).empty()) continue;
    const Seconds cost = algorithm->cost(call.bytes(), call.comm->size(), network_);
    if (best == nullptr || cost < best_cost) {
      best = algorithm;
      best_cost = cost;
    }
  }
  return *best;
}

flight::Call record_of(const Call& call) {
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

}  // namespace

void run_collective(const Call& call, const CollectiveOptions& options) {
  const trace::Span span(name_of(call.operation).data(), trace::Category::communication,
                         call.bytes());
  flight::Scope record(*call.comm, record_of(call));
  if (options.algorithm.empty()) {
    if (why_no_node_path(call).empty()) {
      record.set_algorithm("node");  // where the ranks compare their calls in any case
      run_on_node(call);
      return;
    }
    check_agreement(call, record.sequence(), "");
    const Algorithm& best = call.comm->extension<Choices>().of(call);
    record.set_algorithm(best.name().data());
    return best.run(call);
  }
  const Algorithm& algorithm = find_algorithm(call.operation, options.algorithm);
  const std::string why_not = algorithm.why_not(call);
  if (!why_not.empty()) {
    throw Error(title(call), options.algorithm + " cannot do it: " + why_not,
                "choose another algorithm, or none");
  }
  record.set_algorithm(algorithm.name().data());
  if (!algorithm.name().starts_with("node_")) {
    check_agreement(call, record.sequence(), algorithm.name());
  }
  algorithm.run(call);
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
