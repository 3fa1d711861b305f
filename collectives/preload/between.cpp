#include "preload/between.hpp"

#include <mpi.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <string_view>

#include <shoal/runtime/mpi_interop.hpp>

#include "all_reduce/planned.hpp"
#include "node/groups.hpp"
#include "preload/gain.hpp"
#include "tcp/connections.hpp"
#include "tuning/choices.hpp"

namespace shoal::preload {
namespace {

// Put aside by all of this process.
std::atomic<int> descriptors_in_use{0};

// Asked anew each time: the program may change the limit.
int most_descriptors() noexcept {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  constexpr rlim_t enough = 1 << 20;
  return static_cast<int>(std::min(limit.rlim_cur, enough) / 2);
}

// Up to so many connections are put aside for broadcasts, whose root may be any rank.
constexpr int most_to_any_root = 64;

}  // namespace

bool all_can(const Communicator& comm, bool can) {
  int all = can ? 1 : 0;
  return PMPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, mpi_handle(comm)) == MPI_SUCCESS &&
         all != 0;
}

bool Descriptors::put_aside(int wanted) noexcept {
  const int most = most_descriptors();
  int before = descriptors_in_use.load();
  while (before + wanted <= most) {
    if (!descriptors_in_use.compare_exchange_weak(before, before + wanted)) continue;
    count_ = wanted;
    return true;
  }
  return false;
}

Descriptors::~Descriptors() { descriptors_in_use.fetch_sub(count_); }

Between::Between(const Communicator& comm) : comm_(comm), alone_(comm.node_count() == comm.size()) {
  // All but those on the smallest node may be another's peers.
  any_root_ = alone_ || comm.size() <= most_to_any_root;
  constexpr int listener = 1;
  const int wanted = listener + (any_root_ ? comm.size() : comm.node_count()) - 1;
  if (!all_can(comm, descriptors_.put_aside(wanted))) return;
  if (!comm.extension<tcp::Connections>().usable()) return;
  usable_ = comm.extension<NodeGroups>().why_not().empty();
}

bool Between::may_take(const Algorithm& algorithm, const Call& call) const {
  const std::string_view name = algorithm.name();
  if (!algorithm.why_not(call).empty()) return false;
  if (name.starts_with("hierarchical")) return true;
  if (!alone_) return false;
  switch (call.operation) {
    case Operation::all_reduce:
      return dynamic_cast<const PlannedAllReduce*>(&algorithm) != nullptr;
    case Operation::reduce_scatter:
      return name == "ring";
    case Operation::all_gather:
      return name == "bruck" || name == "ring";
    case Operation::broadcast:
      return name == "binomial" || name == "chain";
    case Operation::all_to_all:
      return name == "direct";
    case Operation::barrier:
      return name == "dissemination";
  }
  return false;
}

const Algorithm* Between::find(const Call& call) const {
  const Network network = typical_network(comm_);
  if (!gains(call, alone_)) return nullptr;
  const Algorithm* const tuned = choices_of(comm_).tuned(call);
  if (tuned != nullptr && tuned->name() == "mpi") return nullptr;
  if (tuned != nullptr && may_take(*tuned, call)) return tuned;
  const Algorithm* best = nullptr;
  Seconds best_cost{0};
  for (const Algorithm* algorithm : algorithms(call.operation)) {
    if (!may_take(*algorithm, call)) continue;
    const Seconds cost = algorithm->cost(call.bytes(), comm_.size(), network);
    if (best == nullptr || cost < best_cost) {
      best = algorithm;
      best_cost = cost;
    }
  }
  return best;
}

const Algorithm* Between::choice(const Call& call) {
  if (call.operation == Operation::broadcast && !any_root_) {
    // Only the first ranks of the nodes have descriptors put aside for each other.
    if (comm_.extension<NodeGroups>().lane(0)[static_cast<std::size_t>(comm_.node_of(call.root))] !=
        call.root) {
      return nullptr;
    }
  }
  constexpr std::size_t most = 256;
  if (made_.size() >= most) made_.clear();
  const auto [at, isnew] = made_.try_emplace({call.operation, call.bytes()}, nullptr);
  if (isnew) at->second = find(call);
  return at->second;
}

}  // namespace shoal::preload
