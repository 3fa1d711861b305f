// Broadcast of long messages along a chain: each rank passes every segment on as soon as it has it, so
// that all links are busy at once and each carries the data once.
//
// Cost: (p−1)·(α + s·β) + n·β with segments of s bytes.
// Source: Worringen 2003, Pipelining and overlapping for MPI collective operations.
#include <algorithm>
#include <numeric>

#include "algorithm.hpp"
#include "plan/pipeline.hpp"
#include "plan/segments.hpp"
#include "plan/shapes.hpp"

namespace shoal {
namespace {

class Chain final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double segment = std::min(n, static_cast<double>(passed_segment_bytes()));
    return Seconds((ranks - 1) * (net.alpha + segment * net.beta) + n * net.beta);
  }

  void run(const Call& call) const override {
    std::vector<Rank> members(static_cast<std::size_t>(call.comm->size()));
    std::iota(members.begin(), members.end(), 0);
    Plan plan;
    plan.counts = {call.count};
    add_chain(plan, call.comm->size(), call.comm->rank(), call.root);
    Exchange exchange;
    exchange.comm = call.comm;
    exchange.members = members;
    exchange.operation = "broadcast";
    exchange.in = exchange.out = call.out;
    exchange.type = call.type;
    run_plan(plan, exchange);
  }
};

}  // namespace

const Algorithm& broadcast_chain() {
  static const Chain algorithm({Operation::broadcast, "chain",
                                "long messages: every link carries the data once, all at a time",
                                "Worringen 2003"});
  return algorithm;
}

}  // namespace shoal
