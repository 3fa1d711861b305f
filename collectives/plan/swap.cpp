#include "plan/swap.hpp"

#include <cstdint>
#include <numeric>
#include <vector>

#include "plan/pipeline.hpp"
#include "plan/segments.hpp"
#include "tcp/connections.hpp"
#include "transport.hpp"

namespace shoal {

void swap_messages(const Communicator& comm, const char* operation, const Swap& step) {
  if (!comm.extension<tcp::Connections>().usable()) {
    // One message each way: MPI knows best how to send a long one.
    Messages messages(comm, operation);
    if (step.expected > 0) messages.receive(step.into, step.expected, step.from);
    if (step.bytes > 0) messages.send(step.data, step.bytes, step.to);
    return messages.wait();
  }
  std::vector<Rank> members(static_cast<std::size_t>(comm.size()));
  std::iota(members.begin(), members.end(), 0);
  Plan plan;
  plan.counts = {static_cast<Index>(step.bytes), static_cast<Index>(step.expected)};
  plan.segment_bytes = most_segment_bytes();
  Round& round = plan.rounds.emplace_back();
  round.sends = {{step.to, 0, 1}};
  round.receives = {{step.from, 1, 1}};
  Exchange exchange;
  exchange.comm = &comm;
  exchange.members = members;
  exchange.operation = operation;
  exchange.in = step.data;
  // The plan's second block lies behind the first one; of that nothing is written.
  exchange.out = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(step.into) - step.bytes);
  run_plan(plan, exchange);
}

}  // namespace shoal
