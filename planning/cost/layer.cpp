// The operations of a transformer layer on one rank: FLOPs, bytes and seconds.
//
// Matrix products follow the roofline model (Williams, Waterman & Patterson 2009) with the
// efficiency of their shape: tiles at the edges are padded, the last wave of tiles does not fill
// all units (tile and wave quantisation: NVIDIA, Matrix multiplication background user's guide),
// small tiles read more for each operation, and a short inner extent spends its time filling and
// draining pipelines. Everything else streams through memory.
#include <algorithm>
#include <array>
#include <cmath>

#include <shoal/planning/estimate.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::planning {
namespace {

// Operations that a tile does for each number it reads grow as the harmonic mean of its sides; at
// this mean a tile spends as long on reading as on computing.
constexpr double reading_side = 8;

double tile_speed(double rows, double cols) {
  const double mean = rows * cols / (rows + cols);
  return mean / (mean + reading_side);
}

// Share of the attained peak that a product reaches: of the tilings that a library has, the best
// one.
double shape_efficiency(const Device& device, double half_depth, double m, double n, double k,
                        double count) {
  const double largest = tile_speed(device.tile_rows, device.tile_cols);
  double rows = device.tile_rows, cols = device.tile_cols;
  double best = 0;
  for (int i = 0; i < 7; ++i) {
    const double tiles = std::ceil(m / rows) * std::ceil(n / cols) * count;
    const double padded = m * n * count / (tiles * rows * cols);
    // The inner extent may be divided, too, where there are fewer tiles than units; a part should
    // not be shorter than four ramps.
    const double shortest = std::max(4 * half_depth, 32.0);
    const double parts = std::clamp(device.units / tiles, 1.0, std::max(1.0, k / shortest));
    const double pieces = tiles * parts;
    const double waves = pieces / device.units / std::ceil(pieces / device.units - 1e-9);
    const double depth = k / parts / (k / parts + half_depth);
    best = std::max(best, padded * waves * depth * tile_speed(rows, cols) / largest);
    if (cols > rows || rows <= 16) {
      if (cols <= 8) break;
      cols /= 2;
    } else {
      rows /= 2;
    }
  }
  return best;
}

// Small matrices: a single row has its own kernel, which is a stream.
double stream_seconds(const Device& device, double bytes) {
  return bytes / (device.memory_bandwidth * device.memory_efficiency);
}

class Builder {
 public:
  Builder(const Model& model, const Software& software, const Prices& prices, const Layout& layout,
          const LayerWork& work)
      : model_(model),
        software_(software),
        prices_(prices),
        layout_(layout),
        work_(work),
        device_(prices.cluster().device),
        core_rate_(device_.product_rate(work.type == "fp32" ? "fp32" : "bf16")),
        weight_rate_(device_.product_rate(work.quantised_rate ? "q40" : work.type)),
        rows_(work.sequences * work.tokens) {
    core_rate_.flops = std::min(core_rate_.flops, device_.rate(work.type));
  }

  // A product by weights, of which the rank has k·n; each of `count` has its own.
  LayerOp& product(const char* name, double m, double n, double k, double count = 1) {
    const double bytes = count * (k * n * work_.weight_bytes + number() * (m * k + m * n));
    return add_product(name, weight_rate_, m, n, k, count, bytes);
  }
  LayerOp& core_product(const char* name, double m, double n, double k, double count, double bytes,
                        double efficiency = 1) {
    const ProductRate rate{core_rate_.flops * efficiency, core_rate_.half_depth};
    LayerOp& op = add_product(name, rate, m, n, k, count, bytes);
    op.core = true;
    return op;
  }
  LayerOp& stream(const char* name, double bytes) {
    LayerOp& op = add(LayerOp::Kind::stream, name);
    op.bytes = bytes;
    op.seconds = stream_seconds(device_, bytes);
    if (software_.backward_streams) op.backward = *software_.backward_streams;
    return op;
  }
  LayerOp& exchange(const char* name, Operation operation, double bytes, Group group) {
    LayerOp& op = add(LayerOp::Kind::exchange, name);
    op.operation = operation;
    op.bytes = bytes;
    op.group = group;
    op.backward = 1;
    op.seconds = prices_.collective(operation, bytes, group, &op.level);
    if (op.seconds > 0) op.seconds += software_.call_seconds;
    return op;
  }
  // All ranks of tp get the sum of what each has.
  void join(const char* name) {
    const double number_bytes = work_.training ? number() : software_.exchange_bytes.value;
    exchange(name, Operation::all_reduce, rows_ * d(model_.width) * number_bytes, {layout_.tp, 1});
  }

  std::vector<LayerOp> layer() {
    attention();
    if (software_.exchange == Software::Exchange::all_reduce || work_.training) {
      join("sum after attention");
    }
    if (work_.expert_layer) {
      experts();
    } else {
      mlp("MLP", rows_, d(model_.ffn) / layout_.tp, 1);
    }
    norms();
    if (software_.exchange == Software::Exchange::all_reduce || work_.training) {
      if (!work_.expert_layer || layout_.ep < layout_.tp) join("sum after the MLP");
    } else {
      star();
    }
    LayerOp& launches = add(LayerOp::Kind::stream, "launches");
    launches.seconds = software_.layer_operations * device_.launch_seconds;
    return std::move(ops_);
  }

  std::vector<LayerOp> head(double rows) {
    // distributed-llama leaves the logits to the root.
    const bool root_only = software_.exchange == Software::Exchange::star && !work_.training;
    const double ids = d(model_.vocabulary) / (root_only ? 1 : layout_.tp);
    product("output layer", rows, ids, d(model_.width));
    if (root_only) return std::move(ops_);
    if (work_.training) {
      // Logits in fp32, read and written twice: maximum, exponentials, sum, gradient.
      stream("loss", 16 * rows * ids).backward = 0.5;
      exchange("loss over tp", Operation::all_reduce, 8 * rows, {layout_.tp, 1}).backward = 0;
    } else if (layout_.tp > 1) {
      exchange("logits over tp", Operation::all_gather, 4 * rows * d(model_.vocabulary),
               {layout_.tp, 1});
    }
    return std::move(ops_);
  }

 private:
  static double d(Index value) { return static_cast<double>(value); }
  // Bytes of a number between operations.
  double number() const { return work_.type == "fp32" ? 4 : 2; }

  LayerOp& add(LayerOp::Kind kind, const char* name) {
    LayerOp& op = ops_.emplace_back();
    op.kind = kind;
    op.name = name;
    return op;
  }
  LayerOp& add_product(const char* name, const ProductRate& rate, double m, double n, double k,
                       double count, double bytes) {
    LayerOp& op = add(LayerOp::Kind::product, name);
    op.flops = 2 * m * n * k * count;
    op.bytes = bytes;
    op.seconds = product_seconds(device_, rate, m, n, k, count, bytes);
    return op;
  }

  void attention() {
    const double tp = layout_.tp;
    const double width = d(model_.width), head = d(model_.head_width);
    const double heads = d(model_.heads) / tp;
    const double seen = work_.past + work_.tokens;  // counted whole, as the papers do
    if (model_.kv_rank > 0) return latent_attention(heads, seen);
    const double kv_heads = std::max(1.0, d(model_.kv_heads) / tp);
    product("queries, keys, values", rows_, (heads + 2 * kv_heads) * head, width);
    core(heads, kv_heads, head, head, seen, 2 * kv_heads * head);
    product("output of attention", rows_, width, heads * head);
  }

  // DeepSeek-V2's: queries and keys pass through low ranks, and generation attends in the low rank
  // itself (the projections absorbed), where each token has left kv_rank + rope_width numbers.
  void latent_attention(double heads, double seen) {
    const double width = d(model_.width), head = d(model_.head_width);
    const double q_rank = d(model_.q_rank), kv_rank = d(model_.kv_rank),
                 rope = d(model_.rope_width);
    const double value = d(model_.value_width);
    product("low ranks", rows_, q_rank + kv_rank + rope, width);
    product("queries", rows_, heads * (head + rope), q_rank);
    if (work_.tokens > 1) {
      product("keys and values", rows_, heads * (head + value), kv_rank);
      core(heads, heads, head + rope, value, seen, heads * (head + rope + value));
    } else {
      product("queries in the low rank", rows_, kv_rank, head, heads);
      core(heads, 1, kv_rank + rope, kv_rank, seen, kv_rank + rope);
      product("values from the low rank", rows_, value, kv_rank, heads);
    }
    product("output of attention", rows_, width, heads * value);
  }

  // Scores and their product with the values. `cached`: numbers a token has left for this rank.
  void core(double heads, double kv_heads, double key, double value, double seen, double cached) {
    // Heads that share keys and values are rows of one product.
    const double m = work_.tokens * heads / kv_heads;
    const double count = work_.sequences * kv_heads;
    const double cache_bytes = work_.sequences * seen * cached * number();
    const double io = rows_ * heads * (key + value) * number();
    if (software_.fused_attention || work_.tokens == 1) {
      // The causal half that is masked is not computed (Dao 2023); it still counts as FLOPs of the
      // model.
      const double causal = work_.past == 0 && work_.tokens > 1 ? 0.5 : 1;
      double efficiency = work_.tokens == 1 ? 1 : software_.attention_efficiency.value;
      if (work_.tokens > 1 && software_.synchronous_attention && device_.synchronous_share) {
        efficiency *= *device_.synchronous_share;
      }
      LayerOp& op = core_product("attention", m, seen * causal, key + value, count,
                                 cache_bytes + io, efficiency);
      op.flops /= causal;
      op.backward = 2.5;
      return;
    }
    const double scores = rows_ * heads * seen;
    const double half = number();
    core_product("scores", m, seen, key, count, io / 2 + cache_bytes / 2 + half * scores);
    // Scale, mask and softmax in one pass; dropout with a mask of a byte.
    stream("softmax", 2 * half * scores).core = true;
    if (work_.training) stream("dropout of scores", (2 * half + 1) * scores).core = true;
    core_product("values", m, value, seen, count, half * scores + io / 2 + cache_bytes / 2);
  }

  void mlp(const char* name, double rows, double inner, double count) {
    const double width = d(model_.width);
    product(name, rows, inner * (model_.gated ? 2 : 1), width, count);
    stream("activation", (model_.gated ? 3 : 2) * number() * rows * inner * count);
    product("back to the width", rows, width, inner, count);
  }

  void experts() {
    const double width = d(model_.width);
    const double active = d(model_.active_experts), all = d(model_.experts);
    product("router", rows_, all, width);
    // Tokens meet the experts on ep ranks. Of those tp ranks hold the same tokens: each sends its
    // part.
    const double ep = layout_.ep;
    const double copies = rows_ * active / layout_.tp;
    const double mine = ep >= layout_.tp ? copies : rows_ * active / ep;
    if (ep > 1) {
      const int stride = ep >= layout_.tp ? 1 : layout_.tp / layout_.ep;
      const double wire = work_.type == "fp8" || work_.type == "int8" ? 1 : number();
      exchange("tokens to experts", Operation::all_to_all, copies * width * wire,
               {layout_.ep, stride});
      // A token goes to at most `active` ranks, so nothing is saved by sending to fewer.
      exchange("tokens back", Operation::all_to_all, copies * width * number(),
               {layout_.ep, stride});
    }
    const double local = all / ep;
    // Experts that any of the tokens meet, if they choose by chance.
    const double touched = std::max(1.0, local * (1 - std::pow(1 - 1 / local, mine)));
    const double split = ep >= layout_.tp ? 1 : layout_.tp / ep;
    mlp("experts", std::max(mine / touched, 1.0), d(model_.expert_ffn) / split, touched);
    if (model_.shared_experts > 0) {
      mlp("shared expert", rows_, d(model_.shared_experts * model_.expert_ffn) / layout_.tp, 1);
    }
  }

  // Two norms and two sums with the residual, with dropout's mask where there is dropout.
  void norms() {
    const double divided = layout_.sequence_parallel ? layout_.tp : 1;
    const double numbers = rows_ * d(model_.width) / divided;
    stream("norms and residuals",
           numbers * (2 * 2 + 2 * 3) * number() +
               (work_.training && model_.learned_positions ? 2 * numbers : 0));
  }

  // distributed-llama 0.1: all goes by way of a root. In a layer it sends the input of attention,
  // of the output product and of the MLP to all others, collects queries, keys and values, the
  // output and the result of the MLP, and passes the inner activations of all on to all; each step
  // waits for the one before. Bytes per layer agree with the 4,192 kB (fp32) and 10,656 kB its
  // README gives for two and four devices.
  void star() {
    const double n = layout_.tp;
    if (n <= 1) return;
    const double number_bytes = software_.exchange_bytes;
    const double width = d(model_.width) * rows_ * number_bytes;
    const double kv = d(model_.kv_heads * model_.head_width) * rows_ * number_bytes;
    const double inner = d(model_.ffn) * rows_ * number_bytes;
    const double sent = 3 * (n - 1) * width + (n - 1) * (n - 1) / n * inner;
    const double collected = (n - 1) / n * (3 * width + 2 * kv + inner);
    constexpr double steps = 8;  // one after the other
    const double messages = (n - 1) * (3 + 5 + 1) + (n - 1) * (n - 1);
    int level = 0;
    const double latency = prices_.message(0, layout_.tp - 1, &level);
    const Level& link = prices_.cluster().levels[static_cast<std::size_t>(level)];
    LayerOp& op = add(LayerOp::Kind::exchange, "by way of the root");
    op.level = level;
    op.bytes = sent + collected;
    op.group = {layout_.tp, 1};
    op.seconds = steps * latency + messages * link.overhead + (sent + collected) * link.beta();
  }

  const Model& model_;
  const Software& software_;
  const Prices& prices_;
  const Layout& layout_;
  const LayerWork& work_;
  const Device& device_;
  ProductRate core_rate_, weight_rate_;
  double rows_;
  std::vector<LayerOp> ops_;
};

}  // namespace

double product_seconds(const Device& device, const ProductRate& rate, double m, double n, double k,
                       double count, double bytes) {
  const double flops = 2 * m * n * k * count;
  if (flops <= 0) return 0;
  const double attained = rate.flops * device.matrix_efficiency;
  const double compute =
      flops /
      (attained * std::max(shape_efficiency(device, rate.half_depth, m, n, k, count), 1e-6));
  // A few rows are a stream of the weights through vector units, with no tiles to fill.
  const double vectors = m <= 4 ? flops / attained : compute;
  return std::max(std::min(compute, vectors), stream_seconds(device, bytes));
}

double bytes_of_type(std::string_view type) {
  if (type == "fp32") return 4;
  if (type == "bf16") return 2;
  if (type == "fp8" || type == "int8") return 1;
  if (type == "fp4") return 0.5;
  if (type == "q40") return 18.0 / 32;  // 32 weights of 4 bits and a scale of 16
  throw UsageError("--weights", "there is no type '" + std::string(type) + "'",
                   "choose one of fp32, bf16, fp8, int8, fp4, q40");
}

double travelling_bytes(const std::string& type, double usual) {
  return type.empty() ? usual : bytes_of_type(type);
}

std::vector<LayerOp> layer_ops(const Model& model, const Software& software, const Prices& prices,
                               const Layout& layout, const LayerWork& work) {
  return Builder(model, software, prices, layout, work).layer();
}

std::vector<LayerOp> head_ops(const Model& model, const Software& software, const Prices& prices,
                              const Layout& layout, const LayerWork& work, double rows) {
  return Builder(model, software, prices, layout, work).head(rows);
}

}  // namespace shoal::planning
