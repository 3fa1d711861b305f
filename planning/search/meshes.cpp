#include <algorithm>
#include <optional>
#include <utility>

#include <shoal/planning/gpt.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::planning {
namespace {

constexpr std::string_view priced_axes[] = {"pp", "dp", "tp"};

// All ways to write `ranks` as a product over the axes from `axis` on.
void divide(std::size_t axis, int ranks, MeshShape& mesh, std::vector<MeshShape>& all) {
  if (axis + 1 == mesh.axes.size()) {
    mesh.axes[axis].size = ranks;
    all.push_back(mesh);
    return;
  }
  for (int size = 1; size <= ranks; ++size) {
    if (ranks % size != 0) continue;
    mesh.axes[axis].size = size;
    divide(axis + 1, ranks / size, mesh, all);
  }
}

bool is_possible(const models::TrainOptions& options, const MeshShape& mesh) {
  try {
    models::check(options, mesh);
  } catch (const UsageError&) {
    return false;
  }
  return true;
}

}  // namespace

Model model_of(const models::GptConfig& config) {
  Model model;
  model.name = "GPT";
  model.layers = config.layers;
  model.width = config.width;
  model.heads = model.kv_heads = config.heads;
  model.head_width = config.width / config.heads;
  model.ffn = 4 * config.width;
  model.bias = config.bias;
  model.tied = model.learned_positions = true;
  model.vocabulary = config.vocabulary;
  model.context = config.block_size;
  return model;
}

Layout layout_of(const models::TrainOptions& options, const MeshShape& mesh) {
  Layout layout;
  layout.dp = mesh.size_of("dp");
  layout.tp = mesh.size_of("tp");
  layout.pp = mesh.size_of("pp");
  layout.micro_batch = (options.batch_size + layout.dp - 1) / layout.dp;
  layout.zero = options.savings.shard_optimizer && layout.dp > 1 ? 1 : 0;
  layout.recompute = options.savings.recompute ? Recompute::full : Recompute::none;
  return layout;
}

Workload workload_of(const models::TrainOptions& options, const MeshShape& mesh) {
  const Layout layout = layout_of(options, mesh);
  Workload workload;
  workload.batch = layout.micro_batch * layout.dp * options.grad_accum;
  workload.sequence = options.model.block_size;
  workload.type = options.model.precision == kernels::Precision::bf16 ? "bf16" : "fp32";
  workload.dropout = options.model.dropout > 0;
  if (options.traffic.gradients == DType::bf16) workload.gradient_type = "bf16";
  if (options.traffic.weights == DType::bf16) workload.gather_type = "bf16";
  return workload;
}

std::vector<PricedMesh> price_meshes(const models::TrainOptions& options, const Software& software,
                                     const Cluster& cluster, int ranks) {
  MeshShape shape;
  for (const std::string_view axis : priced_axes) shape.axes.push_back({std::string(axis), 1});
  std::vector<MeshShape> all;
  divide(0, ranks, shape, all);
  // One stage is none.
  for (MeshShape& mesh : all) {
    std::erase_if(mesh.axes, [](const auto& axis) { return axis.name == "pp" && axis.size == 1; });
  }
  const Model model = model_of(options.model);
  const Prices prices(cluster);
  std::vector<PricedMesh> priced;
  for (const MeshShape& mesh : all) {
    if (!is_possible(options, mesh)) continue;
    Estimate made = estimate(model, software, prices, workload_of(options, mesh),
                             layout_of(options, mesh), true);
    // With an explanation it is priced though it does not fit.
    if (made.seconds > 0) priced.push_back({mesh, std::move(made)});
  }
  std::stable_sort(priced.begin(), priced.end(), [](const PricedMesh& a, const PricedMesh& b) {
    return std::make_pair(!a.estimate.fits, a.estimate.seconds) <
           std::make_pair(!b.estimate.fits, b.estimate.seconds);
  });
  return priced;
}

}  // namespace shoal::planning
