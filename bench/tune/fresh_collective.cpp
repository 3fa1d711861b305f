#include "tune/fresh_collective.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/all_to_all.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/collectives/reduce_scatter.hpp>

#include "timing.hpp"

namespace shoal::bench {

// As a program that computes meanwhile: who has slept takes longer to send its first message.
void pause_between_nodes() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  while (std::chrono::steady_clock::now() < end) {
  }
}

FreshCollective::FreshCollective(const Communicator& comm, Operation operation, Bytes bytes)
    : comm_(comm),
      operation_(operation),
      each_(std::max<Index>(1, static_cast<Index>(bytes / sizeof(float)) / comm.size())),
      in_(operation == Operation::all_gather ? each_ : each_ * comm.size(), Memory::node_shared),
      out_(operation == Operation::reduce_scatter                              ? each_
           : operation == Operation::all_gather || operation == Operation::all_to_all
               ? each_ * comm.size()
               : 0,
           Memory::node_shared) {}

void FreshCollective::write() {
  const bool writes = operation_ != Operation::broadcast || comm_.rank() == 0;
  if (!writes) return;
  for (Index i = 0; i < in_.size(); ++i) in_[i] = static_cast<float>(i % 7 + comm_.rank());
}

void FreshCollective::run() {
  switch (operation_) {
    case Operation::all_reduce: return all_reduce(comm_, in_.span(), ReduceOp::sum);
    case Operation::reduce_scatter:
      return reduce_scatter(comm_, in_.data(), out_.data(), each_, DType::f32, ReduceOp::sum);
    case Operation::all_gather:
      return all_gather(comm_, in_.data(), each_, out_.data(), DType::f32);
    case Operation::broadcast: return broadcast(comm_, in_.span(), 0);
    case Operation::all_to_all:
      return all_to_all(comm_, in_.data(), out_.data(), each_, DType::f32);
    case Operation::barrier: return barrier(comm_);
  }
}

double FreshCollective::time(double budget, int fewest) {
  constexpr int most = 400;
  // Between nodes ranks leave a barrier as far apart as a short collective takes.
  constexpr double shortest_between_nodes = 2e-3;
  // What is called in a row before the next pause must not use up what a slow link lets pass at once.
  constexpr double most_in_a_row = 64 << 10;
  std::vector<double> times;
  int calls = 1;
  const bool pauses = !comm_.on_one_node();
  const auto once = [&] {
    write();
    if (pauses) pause_between_nodes();
    barrier(comm_);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) run();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    return spent.count() / calls;
  };
  once();
  const auto begin = std::chrono::steady_clock::now();
  double round = once();
  if (pauses) {
    all_reduce(comm_, &round, &round, 1, DType::f64, ReduceOp::max);
    const double most_calls = std::clamp(most_in_a_row / static_cast<double>(bytes()), 1.0, 50.0);
    calls = static_cast<int>(
        std::clamp(shortest_between_nodes / std::max(round, 1e-9), 1.0, most_calls));
    round *= calls - 1;
  } else {
    round = 0;
  }
  round += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  all_reduce(comm_, &round, &round, 1, DType::f64, ReduceOp::max);
  const int count = static_cast<int>(
      std::clamp(budget / std::max(round, 1e-9), static_cast<double>(fewest), double{most}));
  for (int i = 0; i < count; ++i) times.push_back(once());
  all_reduce(comm_, times.data(), times.data(), static_cast<Index>(times.size()), DType::f64,
             ReduceOp::max);
  return comm_.on_one_node() ? lower_quartile(times) : middle_mean(times);
}

}  // namespace shoal::bench
