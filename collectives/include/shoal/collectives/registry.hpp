// Every algorithm of every collective, by name, with what it costs.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <shoal/collectives/options.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/reduce_op.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

enum class Operation { all_reduce, reduce_scatter, all_gather, broadcast, all_to_all, barrier };

inline constexpr Operation all_operations[] = {Operation::all_reduce, Operation::reduce_scatter,
                                               Operation::all_gather, Operation::broadcast,
                                               Operation::all_to_all, Operation::barrier};

/// "all_reduce", ...
std::string_view name_of(Operation operation) noexcept;
/// The same of what a caller makes of it: "reduce", "gather", "scatter".
std::string_view name_of(Operation operation, Purpose purpose) noexcept;

/// A collective to be done: the arguments of the call, checked. Fields that the operation does not
/// have stay at their defaults.
struct Call {
  const Communicator* comm = nullptr;
  Operation operation = Operation::barrier;
  const void* in = nullptr;
  void* out = nullptr;
  Index count = 0;                         ///< elements in all: of the longest of in and out
  std::span<const Index> counts;           ///< by rank: what it brings or gets; all_to_all: sends
  std::span<const Index> receive_counts;   ///< all_to_all, by rank; empty: the same count for all
  DType type = DType::i8;
  ReduceOp op = ReduceOp::sum;
  Rank root = 0;
  Purpose purpose = Purpose::itself;       ///< see Meaning: that and
  std::uint8_t variant = 0;                ///< this the ranks compare

  Bytes bytes() const noexcept { return static_cast<Bytes>(count) * size_of(type); }
};

/// The α–β–γ model (Hockney 1994; Thakur, Rabenseifner & Gropp 2005): a message of n bytes takes
/// α + n·β, combining n bytes takes n·γ. A further message at the same time costs its sender the
/// overhead o (LogP, Culler et al. 1993). α, β and o are those between the ranks that are furthest
/// apart: between nodes, where there are several. The link of a node carries both ways at once, each
/// at 1/β, and the ranks of the node share it.
struct Network {
  double alpha = 0;       ///< seconds a message
  double beta = 0;        ///< seconds a byte on the wire
  double gamma = 0;       ///< seconds a byte reduced
  double overhead = 0;    ///< seconds of its sender that one more message costs
  double node_alpha = 0;  ///< seconds until a rank of the same node sees what another wrote
  double node_beta = 0;   ///< seconds a byte copied within a node
  int nodes = 1;          ///< that have ranks here
  int per_node = 1;       ///< ranks of the node that has most of them
};

/// Figures for the ranks of `comm`: those that shoal tune has measured (tuning.hpp), or else typical
/// ones of one node, or of Gigabit Ethernet between nodes.
Network typical_network(const Communicator& comm);

/// A way to do one collective.
class Algorithm {
 public:
  virtual ~Algorithm() = default;
  virtual Operation operation() const noexcept = 0;
  /// As in CollectiveOptions::algorithm.
  virtual std::string_view name() const noexcept = 0;
  /// One line: what it does, and when it is the one to take.
  virtual std::string_view description() const noexcept = 0;
  /// Where it was published.
  virtual std::string_view source() const noexcept = 0;
  /// Empty if it can do this call; otherwise why not. Answers alike on every rank.
  virtual std::string why_not(const Call& call) const = 0;
  /// True if it hands the inputs of all ranks to the reduction at once, in the order of ranks, and no
  /// partial results: then CollectiveOptions::reproducible may use it.
  virtual bool reproduces() const noexcept { return false; }
  /// Predicted time for `bytes` of data over `ranks` ranks, which lie on network.nodes nodes.
  virtual Seconds cost(Bytes bytes, int ranks, const Network& network) const noexcept = 0;
  /// Does it. Call only if why_not(call) is empty.
  virtual void run(const Call& call) const = 0;
};

/// All algorithms of an operation. MPI's own is called "mpi": it is the reference, never the automatic
/// choice. That is: on one node node_shared, or where a rank's buffer is private the quicker of node_staged and
/// node_read, which long calls try out as they go; between nodes what the tuning table says (tuning.hpp), or
/// else the cheapest by its cost.
const std::vector<const Algorithm*>& algorithms(Operation operation);
/// By name. Throws UsageError that lists the names.
const Algorithm& find_algorithm(Operation operation, std::string_view name);
}  // namespace shoal
