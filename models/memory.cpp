#include <shoal/models/memory.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <utility>
#include <vector>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/collectives/bucketed_all_reduce.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/memory_left.hpp>

#include "checkpoint_shares.hpp"
#include "gpt_block.hpp"
#include "gpt_impl.hpp"
#include "gpt_parameters.hpp"

namespace shoal::models {
namespace {

Bytes floats(Index count) { return static_cast<Bytes>(count) * sizeof(float); }

std::vector<Block> owned_ranges(Index parameters, bool sharded, const MeshPlace& place,
                                bool between_nodes) {
  if (!sharded) return {{0, parameters}};
  std::vector<Block> owned;
  Index begin = 0;
  for (const Index size : BucketedAllReduce::bucket_sizes(
           parameters, DType::f32, between_nodes, BucketedAllReduce::Options{}.bucket_bytes)) {
    const Block mine = block_of(size, place.dp, place.dp_rank);
    owned.push_back({begin + mine.begin, mine.size});
    begin += size;
  }
  return owned;
}

// `masters`: the owned weights are what is written.
Bytes checkpoint_copy(const ParameterLayout& layout, const MeshPlace& place, bool sharded,
                      bool masters, std::span<const Block> owned) {
  CheckpointShares shares(place);
  std::vector<TensorSlice> slices;
  const auto add = [&](std::vector<Share> array) {
    for (Share& share : array) slices.push_back(std::move(share.slice));
  };
  add(masters ? shares.of_owned("", layout.list, owned)
              : shares.of_replicas("", layout.list));
  for (const char* moment : {"first.", "second."}) {
    add(sharded ? shares.of_owned(moment, layout.list, owned)
                : shares.of_replicas(moment, layout.list));
  }
  return CheckpointWriter::copy_bytes(slices);
}

// Extents of the activations of one rank.
struct Extents {
  Index rows, width, heads_width, heads, mlp, ids;
  Index between;  // rows between the parallel layers
  bool by_rows;   // these are fewer
};

Bytes kept_by_block(const Extents& e) {
  const Index whole = 3 * e.width + 4;                      // both norms, between branches; statistics
  const Index attention = 4 * e.heads_width + e.heads;      // q, k, v, output; log of sums
  return floats(e.between * whole + e.rows * (attention + 2 * e.mlp));  // before and after GELU
}

// Of a block that is at work.
Bytes work_space(const Extents& e, bool dropout) {
  // Branch and what dropout makes of it; gradients of norms, before they are summed.
  const Index of_model = (std::max<Index>(1, e.between) + (dropout ? e.between : 0) +
                          (e.by_rows ? 4 : 0)) *
                         e.width;
  return floats(of_model + e.rows * (4 * e.heads_width + e.mlp));
}

// Of the output layer: gradient of its input, logits, sums of the final norm's gradients.
Bytes head_space(const Extents& e) {
  return floats(e.rows * e.width + std::min(e.rows, logit_rows) * e.ids +
                (e.by_rows ? 2 * e.width : 0));
}

Bytes staging(const TrainOptions& options, const Extents& e, const MeshPlace& place,
              const Stage& stage, bool between_nodes) {
  const Index rows = std::min(e.rows, logit_rows);
  Bytes bytes = stage.last() ? floats((3 * place.tp + 1) * rows) : 0;  // cross-entropy
  if (options.model.precision == kernels::Precision::bf16) {
    // Both operands of a product, in bf16 or in rounded fp32; panels where they are large.
    constexpr Index panel = Index{1} << 22;
    bytes += floats(std::max(panel, e.width * e.mlp) +
                    std::max(panel, std::min(e.rows, e.width) * e.mlp));
  }
  if (between_nodes) {
    // The embedding's late rows, twice while they grow, and those of all; buckets on their way.
    const Index late = stage.count == 1 ? e.rows : e.rows * options.grad_accum;
    if (stage.last()) {
      bytes += floats((2 * std::min(late, e.ids) + std::min(place.dp * late, 2 * e.ids)) * e.width);
    }
    bytes += 2 * BucketedAllReduce::Options{}.bucket_bytes;
  }
  return bytes;
}

bool copies_checkpoints(const TrainOptions& options) {
  return options.async_checkpoints && saves_at_intervals(options);
}

// A node, as far as the ranks of a run have to fit into it.
struct Node {
  Bytes needed = 0;
  Bytes left = ~Bytes{0};
  int ranks = 0;
  Rank first = -1;
  Rank tightest = -1;

  double overrun() const {
    return static_cast<double>(needed) - static_cast<double>(left);
  }
};

// What is left on each node, in the order of nodes of mesh.all().
std::vector<Node> nodes_of(const Mesh& mesh, const MemoryLeft& mine) {
  const Communicator& all = mesh.all();
  const auto left = static_cast<std::int64_t>(std::min<Bytes>(mine.bytes, INT64_MAX));
  std::vector<std::int64_t> of_all(static_cast<std::size_t>(all.size()));
  all_gather(all, &left, 1, of_all.data(), DType::i64);
  std::vector<Node> nodes(static_cast<std::size_t>(all.node_count()));
  for (Rank rank = 0; rank < all.size(); ++rank) {
    Node& node = nodes[static_cast<std::size_t>(all.node_of(rank))];
    const auto bytes = static_cast<Bytes>(of_all[static_cast<std::size_t>(rank)]);
    if (node.ranks++ == 0) node.first = rank;
    if (node.tightest < 0 || bytes < node.left) node.tightest = rank;
    node.left = std::min(node.left, bytes);
  }
  return nodes;
}

// Fills in what each node needs; returns the use of the rank that takes the most.
MemoryUse add_up(const TrainOptions& options, const MeshShape& shape, const Mesh& mesh,
                 std::vector<Node>& nodes) {
  const Communicator& all = mesh.all();
  const int tp = shape.size_of("tp");
  const int dp = shape.size_of("dp");
  for (Node& node : nodes) node.needed = 0;
  MemoryUse largest;
  for (Rank rank = 0; rank < all.size(); ++rank) {
    // In mesh order: stages, in them replicas, in them tp ranks.
    const int stage = rank / (dp * tp);
    const Rank first = stage * dp * tp + rank % tp;
    bool between_nodes = false;
    for (int i = 0; i < dp; ++i) between_nodes |= all.node_of(first + i * tp) != all.node_of(first);
    const MemoryUse use =
        predict_memory(options, shape, rank / tp % dp, rank % tp, between_nodes, stage);
    nodes[static_cast<std::size_t>(all.node_of(rank))].needed += use.total();
    if (use.total() > largest.total()) largest = use;
  }
  return largest;
}

const Node& tightest_of(const std::vector<Node>& nodes) {
  return *std::max_element(nodes.begin(), nodes.end(), [](const Node& a, const Node& b) {
    return a.overrun() < b.overrun();
  });
}

std::string size_text(Bytes bytes) {
  char text[32];
  const auto number = static_cast<double>(bytes);
  std::snprintf(text, sizeof text, number < 1e9 ? "%.1f MB" : "%.2f GB",
                number * (number < 1e9 ? 1e-6 : 1e-9));
  return text;
}

// A change to the run, by its flags.
struct Cure {
  enum class Kind { batch, shard, recompute, mesh, stages, together } kind;
  std::string flags;
  TrainOptions options;
  MeshShape mesh;
};

// Each saving alone, then together; the mildest first.
std::vector<Cure> cures_of(const TrainOptions& options, const MeshShape& mesh) {
  std::vector<Cure> cures;
  const int dp = mesh.size_of("dp");
  const int tp = mesh.size_of("tp");
  const int pp = mesh.size_of("pp");
  const auto add = [&](Cure::Kind kind, bool shard, bool recompute, Index split, int new_tp,
                       int new_pp) {
    Cure cure{kind, "", options, mesh};
    const auto say = [&](const std::string& flag) {
      cure.flags += (cure.flags.empty() ? "" : " ") + flag;
    };
    const int new_dp = dp * tp * pp / new_tp / new_pp;
    if (new_tp != tp || new_pp != pp) {
      cure.mesh = MeshShape{{{"dp", new_dp}, {"tp", new_tp}}};
      if (new_pp > 1) cure.mesh.axes.insert(cure.mesh.axes.begin(), {"pp", new_pp});
      say("--mesh " + cure.mesh.text());
    }
    if (shard) {
      if (options.savings.shard_optimizer || new_dp < 2) return;
      cure.options.savings.shard_optimizer = true;
      say("--zero 1");
    }
    if (recompute) {
      if (options.savings.recompute) return;
      cure.options.savings.recompute = true;
      say("--recompute");
    }
    if (split > 1) {
      if (options.batch_size % split != 0 || options.batch_size / split < new_dp) return;
      cure.options.batch_size = options.batch_size / split;
      cure.options.grad_accum = options.grad_accum * split;
      say("--batch-size " + std::to_string(cure.options.batch_size) + " --grad-accum " +
          std::to_string(cure.options.grad_accum));
    }
    cures.push_back(std::move(cure));
  };
  Index smallest = 1;  // split that leaves each dp rank as little as can be
  for (Index split = 2; split * dp <= options.batch_size; ++split) {
    if (options.batch_size % split != 0) continue;
    add(Cure::Kind::batch, false, false, split, tp, pp);
    smallest = split;
  }
  add(Cure::Kind::shard, true, false, 1, tp, pp);
  add(Cure::Kind::recompute, false, true, 1, tp, pp);
  for (int new_tp = tp + 1; new_tp <= dp * tp; ++new_tp) {
    const bool can = (dp * tp) % new_tp == 0 && options.model.heads % new_tp == 0 &&
                     options.model.vocabulary >= new_tp;
    if (can) add(Cure::Kind::mesh, false, false, 1, new_tp, pp);
  }
  // Stages in place of replicas; the batch in as many parts more, so that they have as much at a
  // time.
  for (int more = 2; more <= dp && more * pp <= options.model.layers; ++more) {
    if (dp % more == 0) add(Cure::Kind::stages, false, false, more, tp, more * pp);
  }
  add(Cure::Kind::together, true, true, 1, tp, pp);
  add(Cure::Kind::together, false, true, smallest, tp, pp);
  add(Cure::Kind::together, true, true, smallest, tp, pp);
  return cures;
}

std::string cure_text(const TrainOptions& options, const Mesh& mesh, std::vector<Node> nodes) {
  std::string text;
  std::vector<Cure::Kind> named;  // the mildest of each kind is enough
  for (const Cure& cure : cures_of(options, mesh.shape())) {
    if (std::find(named.begin(), named.end(), cure.kind) != named.end()) continue;
    add_up(cure.options, cure.mesh, mesh, nodes);
    const Node& node = tightest_of(nodes);
    if (node.overrun() > 0) continue;
    text += (named.empty() ? "pass " : ", or ") + cure.flags + " (" + size_text(node.needed) +
            " a node)";
    named.push_back(cure.kind);
  }
  return named.empty() ? "use more nodes, or a smaller model: no batch, mesh or saving makes it fit"
                       : text;
}

}  // namespace

MemoryUse predict_memory(const TrainOptions& options, const MeshShape& mesh, int dp_rank,
                         int tp_rank, bool between_nodes, int pp_rank) {
  const GptConfig& model = options.model;
  const MeshPlace place{mesh.size_of("dp"), mesh.size_of("tp"), dp_rank, tp_rank};
  const Stage stage =
      divide_into_stages(model, mesh.size_of("pp"))[static_cast<std::size_t>(pp_rank)];
  const ParameterLayout layout = lay_out_parameters(model, stage, place.tp, place.tp_rank);
  const bool sharded = options.savings.shard_optimizer && place.dp > 1;
  const std::vector<Block> owned = owned_ranges(layout.size, sharded, place, between_nodes);

  const Block ids = block_of(model.vocabulary, place.tp, place.tp_rank);
  Extents e{};
  e.rows = block_of(options.batch_size, place.dp, place.dp_rank).size * model.block_size;
  e.by_rows = options.savings.sequence_parallel && place.tp > 1;
  e.between = e.by_rows ? block_of(e.rows, place.tp, place.tp_rank).size : e.rows;
  e.width = model.width;
  e.heads = model.heads / place.tp;
  e.heads_width = e.heads * (model.width / model.heads);
  e.mlp = block_of(4 * model.width, place.tp, place.tp_rank).size;
  e.ids = ids.size;

  MemoryUse use;
  use.parameters = floats(layout.size);
  use.gradients = floats(layout.size);
  const bool masters = sharded && options.traffic.weights != DType::f32;
  for (const Block& range : owned) {
    use.optimizer += 2 * floats(range.size);
    if (masters) use.parameters += floats(range.size);
  }
  // Inputs of all blocks, for each micro-batch in flight, and what the blocks keep.
  const Index inputs = stage.layers.size * stage.in_flight(options.grad_accum);
  const Index kept = options.savings.recompute ? std::min<Index>(1, inputs) : inputs;
  use.activations = floats(e.between * inputs * e.width) + static_cast<Bytes>(kept) * kept_by_block(e);
  use.workspace = floats(e.rows * e.width);  // gradient of a block's input
  if (inputs > 0) use.workspace += work_space(e, model.dropout > 0);
  if (stage.last()) {
    use.activations += floats(e.between * (e.width + 2) + e.rows * e.width);  // of the final norm
    use.workspace += head_space(e);
  }
  if (stage.count > 1) {
    use.workspace += StageLinks::bytes_for(stage, place.tp, place.tp_rank, e.rows, ids, e.width,
                                           wire_type(model), e.by_rows);
  }
  if (copies_checkpoints(options)) {
    use.checkpoint = checkpoint_copy(layout, place, sharded, masters, owned);
  }
  use.staging = staging(options, e, place, stage, between_nodes);
  return use;
}

MemoryForecast forecast_memory(const TrainOptions& options, const Mesh& mesh) {
  const MemoryLeft mine = memory_left();
  std::vector<Node> nodes = nodes_of(mesh, mine);
  MemoryForecast forecast;
  forecast.rank = add_up(options, mesh.shape(), mesh, nodes);
  const Node& node = tightest_of(nodes);
  forecast.host = mesh.all().host_of(node.first);
  forecast.ranks = node.ranks;
  forecast.needed = node.needed;
  forecast.left = node.left;
  char limit[256] = {};
  std::snprintf(limit, sizeof limit, "%s", mine.limit.c_str());
  broadcast(mesh.all(), limit, sizeof limit, DType::i8, node.tightest);
  forecast.limit = limit;
  return forecast;
}

void require_memory(const TrainOptions& options, const Mesh& mesh) {
  const MemoryForecast forecast = forecast_memory(options, mesh);
  if (forecast.fits()) return;
  std::vector<Node> nodes = nodes_of(mesh, memory_left());
  throw UsageError(
      "training",
      std::to_string(forecast.ranks) + (forecast.ranks == 1 ? " rank" : " ranks") + " on " +
          forecast.host + " would take " + size_text(forecast.needed) + ", but " +
          size_text(forecast.left) + " are left of " + forecast.limit + " (the largest rank: " +
          size_text(forecast.rank.parameters) + " parameters, " +
          size_text(forecast.rank.gradients) + " gradients, " +
          size_text(forecast.rank.optimizer) + " optimizer, " +
          size_text(forecast.rank.activations) + " activations, " +
          size_text(forecast.rank.workspace) + " work space, " +
          size_text(forecast.rank.checkpoint) + " copy for checkpoints, " +
          size_text(forecast.rank.staging) + " staging)",
      cure_text(options, mesh, std::move(nodes)));
}

}  // namespace shoal::models
