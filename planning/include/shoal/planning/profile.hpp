// What a plan is made from: devices, clusters of them, models, and the software that runs the one
// on the other. Each is a JSON file whose figures carry their source (docs/planning.md).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <shoal/planning/table.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::planning {

/// A number that somebody has to answer for. Confidence: A read at the source; B two or more
/// independent transcriptions agree; C one secondary source; D derived by arithmetic; E assumed
/// here.
struct Figure {
  double value = 0;
  char confidence = 'E';
  std::string source;

  operator double() const noexcept { return value; }
};

/// How quick products of a type are on a device.
struct ProductRate {
  double flops = 0;       ///< FLOP/s, peak
  double half_depth = 0;  ///< see Device::half_depth
};

/// A processor with its memory: a GPU, an NPU, a node's CPUs, or a rank's share of them.
struct Device {
  std::string name;
  /// FLOP/s by type: "fp32", "bf16", "fp8", "int8", "fp4", "q40" (4-bit weights in blocks on a
  /// CPU).
  std::map<std::string, Figure> peak;
  Figure memory_bytes;
  Figure memory_bandwidth;      ///< bytes/s, peak
  Figure matrix_efficiency;     ///< share of the peak that a large matrix product attains
  Figure memory_efficiency;     ///< share of the bandwidth that a long stream attains
  Figure units;                 ///< cores or multiprocessors that take tiles of a product
  Figure tile_rows, tile_cols;  ///< of the largest tile of a product
  /// Share of the peak that products reach which are not written for its asynchronous instructions (Hopper's wgmma).
  /// Empty: all of it.
  std::optional<Figure> synchronous_share;
  /// Inner extent of a product at which half of its time is ramping up, by type of product; under
  /// "" of all others.
  std::map<std::string, Figure> half_depth;
  Figure launch_seconds;  ///< until an operation begins, added to each
  /// What Shoal's kernels take on it, by kernel (docs/planning.md, "Against this machine"), measured
  /// by `shoal tune` while all ranks of a node work at once. Empty: not measured.
  std::map<std::string, Table> measured;
  std::optional<Figure> watts;
  std::optional<Figure> dollars;

  /// FLOP/s of products in `type`, or in the next wider type that the device has: fp4, fp8, int8,
  /// bf16, fp32. `used`, if not null, gets the type taken. Throws UsageError if there is none.
  double rate(std::string_view type, std::string* used = nullptr) const;
  /// Rate and half_depth of products in `type`, or in the next wider type that the device has. One
  /// that half_depth does not name, nor "", has that of the next wider type named, or else of the
  /// first.
  ProductRate product_rate(std::string_view type) const;
};

/// A network level, between the devices of a domain.
struct Level {
  enum class Kind {
    links,         ///< messages: each device, or some together, has a link to a switch
    shared_memory  ///< ranks of one node that see each other's memory
  };
  std::string name;
  Kind kind = Kind::links;
  int devices = 0;    ///< that a domain has; 0: all
  Figure latency;     ///< seconds a message (α)
  Figure bandwidth;   ///< bytes/s of a link, one way
  Figure efficiency;  ///< share of that which long messages attain
  Figure overhead;    ///< seconds of the sender that one more message costs (o)
  int shared_by = 1;  ///< devices on one link
  bool full_duplex = true;
  /// Measured by `shoal tune`. Shared memory: seconds a byte of each collective's formula, by name, by
  /// ranks and bytes; and "flag", seconds a flag by ranks. Links: each collective by name, seconds a
  /// byte of the call (the longer of input and output) by nodes and bytes, of ranks that have let the
  /// link rest, one a node; whole_nodes_table() of it, of all ranks of the nodes together; and "message",
  /// seconds a byte of a message by its bytes. Empty: not measured.
  std::map<std::string, Table> measured;
  /// Links: how many times as long an exchange takes beside a computation, and the seconds by which
  /// a second of exchange holds that computation up.
  std::optional<Figure> beside_slowdown, beside_cost;
  /// Links: bytes that one which has rested lets pass at once, and gains again at the rate of the link:
  /// a token bucket (Turner 1986), as limited links and switches have. Empty: nothing is known of it.
  std::optional<Figure> burst_bytes;

  /// Seconds a byte (β) of one device while all that share its link send.
  double beta() const noexcept {
    return shared_by / (bandwidth * efficiency) * (full_duplex ? 1 : 2);
  }
};

/// How quick a machine was while it was measured, by a short probe that `plan --check` repeats: processors
/// throttle, and virtual ones are moved between cores.
struct Condition {
  Figure product_seconds, stream_seconds;  ///< of a small product and a long sum on all ranks
  Figure meeting_seconds;                  ///< of a barrier over all ranks
  Figure apart;  ///< how many times the probes of the measurement were from their middle; 1: not at all
};

/// Name of a level's table of a collective over all ranks of several nodes.
std::string whole_nodes_table(std::string_view operation);

/// Nodes of equal devices, and the levels that join them, the innermost first.
struct Cluster {
  std::string name;
  Device device;
  int devices_per_node = 1;
  int nodes = 1;
  std::vector<Level> levels;
  std::string software;                  ///< what runs on it unless one says otherwise
  std::optional<Figure> watts, dollars;  ///< of all nodes together, if known as a whole
  std::string note;
  std::optional<Condition> condition;  ///< measured by `shoal tune`

  int devices() const noexcept { return devices_per_node * nodes; }
};

/// A transformer.
struct Model {
  std::string name;
  Index layers = 0, width = 0, heads = 0, kv_heads = 0, head_width = 0;
  Index ffn = 0;       ///< inner width of a dense layer's MLP
  bool gated = false;  ///< MLP with a third matrix (SwiGLU)
  bool bias = false;
  bool tied = false;  ///< output layer is the embedding
  bool learned_positions = false;
  Index vocabulary = 0, context = 0;
  // Mixture of experts; experts = 0: none.
  Index experts = 0, active_experts = 0, shared_experts = 0, expert_ffn = 0;
  Index dense_layers = 0;  ///< first layers without experts
  // Multi-head latent attention (DeepSeek-V2); kv_rank = 0: none.
  Index q_rank = 0, kv_rank = 0, rope_width = 0, value_width = 0;
  Figure published_parameters;

  /// Weights of one layer (`expert_layer`: with its experts, all of them, or those a token takes).
  double attention_parameters() const noexcept;
  double mlp_parameters(Index inner) const noexcept;
  double layer_parameters(bool expert_layer, bool active_only) const noexcept;
  /// Weights of embedding and positions; output layer.
  double embedding_parameters() const noexcept;
  double head_parameters() const noexcept;
  double parameters() const noexcept;
  double active_parameters() const noexcept;  ///< that a token takes part in
  Index expert_layers() const noexcept { return experts == 0 ? 0 : layers - dense_layers; }
  /// Numbers that a token leaves in the key-value cache of one layer.
  double cache_width() const noexcept;
};

/// How a program runs models: what it can divide, what it keeps, what it overlaps.
struct Software {
  /// How tensor-parallel ranks exchange a layer's results when they generate.
  enum class Exchange {
    all_reduce,  ///< one after attention, one after the MLP
    star         ///< a root sends and collects (distributed-llama)
  };
  std::string name;
  Figure weight_bytes, gradient_bytes, optimizer_bytes;  ///< kept for a parameter in training
  Figure optimizer_traffic;     ///< bytes of memory that an update moves for a parameter
  Figure reduced_bytes;         ///< a gradient on its way between data-parallel ranks
  Figure gradient_overlap;      ///< share of the backward pass beside which gradients can travel
  Figure call_seconds;          ///< to start a collective
  Figure attention_efficiency;  ///< of fused attention, of what matrix products attain
  /// True if the kernels of its attention use no asynchronous products (Device::synchronous_share).
  bool synchronous_attention = false;
  Figure exchange_bytes;        ///< a number on its way between ranks that generate
  Figure layer_operations;      ///< operations launched in a layer's forward pass
  /// How many times the bytes of the forward pass norms, activations and residuals move backward. Empty: 2.
  std::optional<Figure> backward_streams;
  /// Bytes of memory moved for each byte of a gradient that travels: joining, dividing and rounding what is not summed
  /// in place. Empty: 0.
  std::optional<Figure> gradient_copies;
  /// Multiprocessors that a collective keeps from computing while it goes on beside the passes. Empty: none.
  std::optional<Figure> exchange_units;
  bool fused_attention = false;
  bool pipeline = false, interleave = false, sequence_parallel = false, expert_parallel = false;
  bool selective_recompute = false;
  bool largest_micro_batch = false;  ///< takes as much at once as memory allows, not what is quickest
  int most_zero = 0;
  Exchange exchange = Exchange::all_reduce;
};

/// Where profiles are: SHOAL_PROFILES, folders separated by ':', before the installed ones.
std::vector<std::string> profile_folders();
/// By name, or by the path of a file (ends in .json). Throws UsageError that lists the names, or
/// says what is wrong with the file.
Device find_device(const std::string& name);
Cluster find_cluster(const std::string& name);
Model find_model(const std::string& name);
Software find_software(const std::string& name);
/// Names of all profiles of a kind: "devices", "clusters", "models", "software".
std::vector<std::string> profile_names(const std::string& kind);
/// From a file's text; `where` names it in messages.
Device parse_device(const std::string& text, const std::string& where);
Cluster parse_cluster(const std::string& text, const std::string& where);
Model parse_model(const std::string& text, const std::string& where);
Software parse_software(const std::string& text, const std::string& where);
/// A cluster's file, its device within: parse_cluster() makes the same of it.
std::string profile_text(const Cluster& cluster);

}  // namespace shoal::planning
