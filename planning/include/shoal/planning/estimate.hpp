// What a step takes: time by cause and memory by kind of a model, laid out over a cluster in one
// way. The formulae and their sources are in docs/planning.md and beside the code in
// planning/cost/.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <shoal/collectives/registry.hpp>
#include <shoal/planning/profile.hpp>

namespace shoal::planning {

/// What is to be done.
struct Workload {
  enum class Kind {
    train,    ///< a step of forward, backward and update
    prefill,  ///< the prompts of `batch` sequences, `sequence` tokens each
    decode    ///< one more token for each of `batch` sequences that have `sequence` already
  };
  Kind kind = Kind::train;
  Index batch = 1;            ///< sequences, over all ranks
  Index sequence = 1;         ///< tokens of each
  std::string type = "bf16";  ///< of matrix products: see Device::rate
  bool dropout = false;       ///< training: there is some (looked at on measured machines only)
  /// Training: in which gradients are summed and new weights are gathered ("fp32", "bf16"); empty: as the
  /// software does it.
  std::string gradient_type, gather_type;
  std::string weights;        ///< how inference stores weights: a type, or "q40"; empty: as `type`
};

enum class Recompute { none, selective, full };

/// How the work is divided. Ranks are numbered with tp the fastest, then dp, then pp.
struct Layout {
  int dp = 1;             ///< replicas, each with its part of the batch
  int tp = 1;             ///< ranks that divide every matrix
  int pp = 1;             ///< stages of layers
  int ep = 1;             ///< ranks that divide the experts; among the dp·tp of a stage
  Index micro_batch = 1;  ///< sequences of a replica that go through together
  int interleave = 1;     ///< chunks of layers a stage has (Narayanan et al. 2021)
  int zero = 0;           ///< 1: optimizer, 2: gradients, 3: weights divided over dp
  Recompute recompute = Recompute::none;
  bool sequence_parallel = false;

  int ranks() const noexcept { return dp * tp * pp; }
  /// "dp=8,tp=4,pp=2", and what else differs from the default.
  std::string text() const;
};

/// Bytes of the device that has the most.
struct MemoryNeed {
  double weights = 0, gradients = 0, optimizer = 0, activations = 0, cache = 0, workspace = 0;
  double total() const noexcept {
    return weights + gradients + optimizer + activations + cache + workspace;
  }
};

/// Seconds of a step by what they are spent on; they add up to the step.
struct Cause {
  std::string name;
  double seconds = 0;
};

/// A step in numbers.
struct Estimate {
  Layout layout;
  double seconds = 0;            ///< a step; decoding: one token of every sequence
  double tokens_per_second = 0;  ///< of all ranks: trained, read or generated
  double flops = 0;              ///< that the model needs in a step, recomputation not counted
  double done_flops = 0;         ///< that are done, recomputation counted
  double peak_share = 0;         ///< flops of the peak of the devices used
  std::vector<Cause> causes;     ///< the largest first
  MemoryNeed memory;
  bool fits = false;
  std::string why_not;             ///< empty, or why this layout cannot be
  std::vector<std::string> steps;  ///< the arithmetic, where asked for
};

/// Ranks `stride` apart from each other.
struct Group {
  int size = 1;
  int stride = 1;
};

/// A collective of a group.
struct CollectivePrice {
  double seconds = 0;     ///< where no link limits it
  int level = 0;          ///< the outermost that it crosses
  double link_bytes = 0;  ///< as Prices::link_bytes()
};

/// What collectives cost on a cluster; remembers what it has been asked.
class Prices {
 public:
  explicit Prices(const Cluster& cluster) : cluster_(cluster) {}
  /// Seconds of a collective of `bytes` (the longer of input and output) in a group, while all
  /// ranks do the same in groups of their own: the cheapest algorithm of the registry that applies
  /// at each level. The level of the outermost link goes to `level`, if not null.
  double collective(Operation operation, double bytes, Group group, int* level = nullptr) const;
  /// Of `members` at one level, all of them neighbours there.
  double at_level(Operation operation, double bytes, int members, int level) const {
    return flat(operation, bytes, members, level);
  }
  /// Of all ranks of several nodes, measured as a whole: `counts` as of spread(). 0: not such a group, or
  /// not measured.
  double whole_nodes(Operation operation, double bytes, const std::vector<int>& counts,
                     std::size_t level = 0) const;
  /// The same as collective() where the link of the outermost level lets `credit` bytes pass at once, no more than its
  /// burst_bytes: the rest takes as long as the link's rate makes it. collective() has all of them.
  double collective_after(Operation operation, double bytes, Group group, double credit) const;
  /// What a link that has rested lets pass at once, at the outermost level of a group; 0 where there is
  /// no such thing.
  double credit(Group group) const;
  /// Bytes that the link of a node has to carry each way at the least, while all ranks of the node do
  /// the same in groups of their own; 0 where the group is on one node.
  double link_bytes(Operation operation, double bytes, Group group) const;
  /// One message between ranks so far apart.
  double message(double bytes, int distance, int* level = nullptr) const;
  /// Members of a group that share a domain of level i (0 ≤ i < levels), for each i.
  std::vector<int> spread(Group group) const;
  /// Name of what collective() takes at that level for `members`: for --explain and the simulator.
  const Algorithm* algorithm(Operation operation, double bytes, int members, int level) const;
  /// Seconds of an all-to-all in which everybody writes to all others at once, as the fabrics of
  /// accelerators let them: one latency, and the overhead of each further message.
  double all_at_once(double bytes, int members, int level) const;
  const Cluster& cluster() const noexcept { return cluster_; }
  /// The model of a level for `members` that exchange messages.
  Network network(int level, int members) const;
  /// The same for a collective of `bytes`: with what was measured at its size, where that is known.
  Network network_for(Operation operation, double bytes, int level, int members) const;

 private:
  const CollectivePrice& known(Operation operation, double bytes, Group group) const;
  double flat(Operation operation, double bytes, int members, int level) const;
  double by_levels(Operation operation, double bytes, const std::vector<int>& counts,
                   std::size_t level) const;
  Cluster cluster_;
  mutable std::map<std::tuple<Operation, double, int, int>, CollectivePrice> known_;
};

/// One operation of a layer on one rank.
struct LayerOp {
  enum class Kind { product, stream, exchange };
  Kind kind = Kind::product;
  const char* name = "";
  double flops = 0;
  double bytes = 0;  ///< of the rank's memory; exchange: of the collective
  double seconds = 0;
  bool core = false;    ///< of attention's core, which selective recomputation makes again
  double backward = 2;  ///< times as long in the backward pass
  Operation operation = Operation::all_reduce;  ///< exchange
  Group group;                                  ///< exchange
  double relief = 1;  ///< exchange: `seconds` over what it takes while all ranks are at work
  int level = 0;                                ///< exchange: outermost level it crosses
  std::string extents;                          ///< measured machines: of the kernel, to be read
};

/// Forward pass of a layer over `sequences` of `tokens` new tokens each that attend to `past`
/// earlier ones too, on one rank. `expert_layer`: the MLP is of experts. `type`: of products; a
/// weight takes `weight_bytes` in memory.
struct LayerWork {
  double sequences = 1, tokens = 1, past = 0;
  std::string type;
  double weight_bytes = 2;
  bool training = true;
  bool expert_layer = false;
  bool quantised_rate = false;  ///< products by weights go at the rate of "q40"
};
std::vector<LayerOp> layer_ops(const Model& model, const Software& software, const Prices& prices,
                               const Layout& layout, const LayerWork& work);
/// The output layer and the loss (training), or the logits (inference), of `rows` tokens.
std::vector<LayerOp> head_ops(const Model& model, const Software& software, const Prices& prices,
                              const Layout& layout, const LayerWork& work, double rows);

/// Seconds of `count` products m×k by k×n at `rate` that touch `bytes` of memory.
double product_seconds(const Device& device, const ProductRate& rate, double m, double n, double k,
                       double count, double bytes);

/// Bytes of a stored weight of a type: 4 for fp32, 0.5625 for q40, ... Throws UsageError.
double bytes_of_type(std::string_view type);
/// Floating-point operations of a step that the model itself asks for: 6 a weight and token in
/// training and 2 otherwise, and attention (causal, counted whole as in the papers the figures are
/// from).
double model_flops(const Model& model, const Workload& workload);

/// Memory of the device that has the most.
/// For GPT on this runtime it is what `shoal train --dry-run` says. `between_nodes`: the ranks of
/// dp are on several nodes.
MemoryNeed memory_need(const Model& model, const Software& software, const Workload& workload,
                       const Layout& layout, bool between_nodes = false);
/// Share of a device's memory that a plan may fill: the rest is for libraries and fragments.
inline constexpr double usable_memory = 0.94;

/// Time and memory of one layout. Fields stay 0 and why_not says why where it cannot be. `explain`:
/// fill `steps`.
Estimate estimate(const Model& model, const Software& software, const Prices& prices,
                  const Workload& workload, const Layout& layout, bool explain = false);

/// Throws UsageError if a workload makes no sense for the model.
void check(const Workload& workload, const Model& model);

}  // namespace shoal::planning
