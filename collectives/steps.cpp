#include <numeric>

#include <shoal/runtime/placement.hpp>

#include "algorithm.hpp"
#include "plan/pipeline.hpp"
#include "plan/shapes.hpp"
#include "reduce/reduce.hpp"

namespace shoal {

std::vector<Index> starts_of(std::span<const Index> counts) {
  std::vector<Index> starts(counts.size());
  std::exclusive_scan(counts.begin(), counts.end(), starts.begin(), Index{0});
  return starts;
}

std::vector<Index> even_counts(Index count, int ranks) {
  std::vector<Index> counts;
  for (Rank rank = 0; rank < ranks; ++rank) counts.push_back(block_of(count, ranks, rank).size);
  return counts;
}

int power_of_two_below(int n) noexcept {
  int power = 1;
  while (power <= n / 2) power *= 2;
  return power;
}

int log2_ceil(int n) noexcept {
  int log = 0;
  while ((1 << log) < n) ++log;
  return log;
}

namespace {

void run_ring(const Call& call, std::byte* data, const Plan& plan) {
  std::vector<Rank> members(static_cast<std::size_t>(call.comm->size()));
  std::iota(members.begin(), members.end(), 0);
  Exchange exchange;
  exchange.comm = call.comm;
  exchange.members = members;
  exchange.operation = name_of(call.operation).data();
  exchange.in = exchange.out = data;
  exchange.type = call.type;
  exchange.op = call.op == ReduceOp::avg ? ReduceOp::sum : call.op;  // see Exchange::ranks
  run_plan(plan, exchange);
}

}  // namespace

void ring_reduce_scatter(const Call& call, std::byte* data, std::span<const Index> counts) {
  Plan plan;
  plan.counts.assign(counts.begin(), counts.end());
  add_ring_reduce_scatter(plan, call.comm->size(), call.comm->rank(), 0, Direction::up);
  run_ring(call, data, plan);
  const auto me = static_cast<std::size_t>(call.comm->rank());
  finish_average(data + static_cast<Bytes>(starts_of(counts)[me]) * size_of(call.type), counts[me],
                 call.type, call.op, call.comm->size());
}

void ring_all_gather(const Call& call, std::byte* data, std::span<const Index> counts) {
  Plan plan;
  plan.counts.assign(counts.begin(), counts.end());
  add_ring_all_gather(plan, call.comm->size(), call.comm->rank(), 0, Direction::up);
  run_ring(call, data, plan);
}

}  // namespace shoal
