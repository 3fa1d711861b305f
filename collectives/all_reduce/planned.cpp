#include "all_reduce/planned.hpp"

#include <numeric>

#include "plan/pipeline.hpp"

namespace shoal {

void PlannedAllReduce::run(const Call& call) const {
  const Communicator& comm = *call.comm;
  std::vector<Rank> members(static_cast<std::size_t>(comm.size()));
  std::iota(members.begin(), members.end(), 0);
  Exchange exchange;
  exchange.comm = &comm;
  exchange.members = members;
  exchange.operation = "all_reduce";
  exchange.in = call.in;
  exchange.out = call.out;
  exchange.type = call.type;
  exchange.op = call.op;
  exchange.ranks = comm.size();
  run_plan(plan(call.count, call.type, comm.size(), comm.rank(), typical_network(comm)), exchange);
}

}  // namespace shoal
