// Collectives, products and layers: measured here, and as the planner prices them.
#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include <fmt/format.h>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/kernels/parallel/attention.hpp>
#include <shoal/kernels/parallel/linear.hpp>
#include <shoal/planning/kernels.hpp>
#include <shoal/runtime/placement.hpp>

#include "plan/check.hpp"
#include "timing.hpp"
#include "tune/fresh_collective.hpp"
#include "tune/points.hpp"
#include "tune/sampler.hpp"
#include "tune/shared_rates.hpp"

namespace shoal::bench {
namespace {

using planning::Form;
using planning::Group;

constexpr double part_budget = 0.1;  // seconds for one try of a figure
constexpr double links_budget = 0.2;  // of a collective between nodes: each call after a pause

struct CollectiveCase {
  Operation operation;
  Bytes bytes;
};

// True if the profile has a measurement of the very size, of which the prediction is then made.
bool was_measured(const planning::Cluster& cluster, Operation operation, Bytes bytes) {
  for (const planning::Level& level : cluster.levels) {
    const auto found = level.measured.find(std::string(name_of(operation)));
    if (found == level.measured.end()) continue;
    for (const double size : found->second.axes[1]) {
      if (size == static_cast<double>(bytes)) return true;
    }
  }
  return false;
}

std::string size_text(Bytes bytes) {
  if (bytes >= 1000000) return fmt::format("{:.4g} MB", static_cast<double>(bytes) * 1e-6);
  if (bytes >= 1000) return fmt::format("{:.4g} kB", static_cast<double>(bytes) * 1e-3);
  return fmt::format("{} B", bytes);
}

// The points of a profile's table around a size, measured beside a row: short collectives hang on
// what machine and network do in that very second.
class Anchors {
  double extent() const { return group_.on_one_node() ? group_.size() : group_.node_count(); }
  // Of a constant cluster a constant table; null if it has none.
  template <typename SomeCluster>
  auto* table_in(SomeCluster& cluster) const {
    auto& level = group_.on_one_node() ? cluster.levels.front() : cluster.levels.back();
    const std::string name(name_of(operation_));
    const bool several = !group_.on_one_node() && group_.size() > group_.node_count();
    const auto found = level.measured.find(several ? planning::whole_nodes_table(name) : name);
    return found == level.measured.end() ? nullptr : &found->second;
  }

 public:
  Anchors(const CheckContext& context, const Communicator& group, Operation operation, Bytes bytes)
      : group_(group), operation_(operation) {
    const planning::Table* const table = table_in(context.cluster);
    if (table == nullptr) return;
    const std::vector<double>& sizes = table->axes[1];
    const auto size = static_cast<double>(bytes);
    const auto above = std::lower_bound(sizes.begin(), sizes.end(), size);
    if (above == sizes.end()) return;
    if (above != sizes.begin() && *above != size) sizes_.push_back(*(above - 1));
    sizes_.push_back(*above);
    seconds_.assign(sizes_.size(), 0.0);
  }

  /// Measures one of them; `which` may be more than there are.
  void measure(std::size_t which, double budget) {
    if (which >= sizes_.size()) return;
    seconds_[which] =
        FreshCollective(group_, operation_, static_cast<Bytes>(sizes_[which])).time(budget);
  }
  /// The profile with what was measured.
  planning::Cluster put_into(planning::Cluster cluster) const {
    for (std::size_t i = 0; i < sizes_.size() && seconds_[i] > 0; ++i) {
      planning::Table& table = *table_in(cluster);
      const auto row = std::find(table.axes[0].begin(), table.axes[0].end(), extent());
      const auto column = std::find(table.axes[1].begin(), table.axes[1].end(), sizes_[i]);
      if (row == table.axes[0].end() || column == table.axes[1].end()) continue;
      const auto at = static_cast<std::size_t>(
          (row - table.axes[0].begin()) * static_cast<std::ptrdiff_t>(table.axes[1].size()) +
          (column - table.axes[1].begin()));
      table.values[at] =
          group_.on_one_node()
              ? shared_seconds_a_byte(operation_, sizes_[i], group_.size(), seconds_[i],
                                      cluster.levels[0].measured.at("flag").at({extent()}))
              : std::max(seconds_[i] / sizes_[i], least_seconds_a_byte);
    }
    return cluster;
  }

 private:
  const Communicator& group_;
  Operation operation_;
  std::vector<double> sizes_, seconds_;
};

// `groups`: of consecutive ranks, all at once.
void check_collective(const CheckContext& context, const Communicator& group,
                      const CollectiveCase& of) {
  FreshCollective collective(group, of.operation, of.bytes);
  Anchors anchors(context, group, of.operation, of.bytes);
  const double budget = group.on_one_node() ? part_budget : links_budget;
  context.add(
      "collective",
      fmt::format("{} of {} over {} ranks", name_of(of.operation), size_text(of.bytes),
                  group.size()),
      was_measured(context.cluster, of.operation, of.bytes), Hangs::on_streams_and_meetings,
      [&] {
        anchors.measure(0, budget);
        const double seconds = collective.time(budget);
        anchors.measure(1, budget);
        return seconds;
      },
      [&](const planning::Cluster& cluster) {
        return planning::Prices(anchors.put_into(cluster))
            .collective(of.operation, static_cast<double>(collective.bytes()), {group.size(), 1});
      });
}

// A product on every rank.
void check_product(const CheckContext& context, const Sampler& sampler, const std::string& type,
                   Form form, Index m, Index n, Index k) {
  using kernels::Trans;
  const planning::Device& device = context.cluster.device;
  const auto found = device.measured.find(planning::product_table(type, form));
  if (found == device.measured.end()) return;
  Pool pool(8 * (m * k + k * n + m * n) + (Index{3} << 20));
  const auto product = [&] {
    const float* a = pool.take(m * k);
    const float* b = pool.take(k * n);
    kernels::gemm(form == Form::tn ? Trans::yes : Trans::no,
                  form == Form::nt ? Trans::yes : Trans::no, m, n, k, 1.0f, a,
                  form == Form::tn ? m : k, b, form == Form::nt ? k : n, 0.0f, pool.take(m * n), n,
                  type == "bf16" ? kernels::Precision::bf16 : kernels::Precision::fp32);
  };
  const auto on = [](const std::vector<double>& axis, Index value) {
    return std::find(axis.begin(), axis.end(), static_cast<double>(value)) != axis.end();
  };
  const auto& axes = found->second.axes;
  const char* names[] = {"A B^T", "A B", "A^T B"};
  context.add(
      "product", fmt::format("{} {}, {} x {} x {}", type, names[static_cast<int>(form)], m, n, k),
      on(axes[0], m) && on(axes[1], n) && on(axes[2], k), Hangs::on_products,
      [&] { return sampler.time(product); },
      [&](const planning::Cluster& cluster) {
        return planning::product_seconds_of(cluster.device, type, form, static_cast<double>(m),
                                            static_cast<double>(n), static_cast<double>(k));
      });
}

// Of calls in which the ranks meet: all make as many.
double slowest(const Communicator& world, const std::function<void()>& call) {
  constexpr int calls = 30;
  std::vector<double> times;
  call();
  for (int i = 0; i < calls; ++i) {
    barrier(world);
    const auto start = std::chrono::steady_clock::now();
    call();
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  all_reduce(world, times.data(), times.data(), calls, DType::f64, ReduceOp::max);
  return lower_quartile(times);
}

// The three products of a linear layer's forward and backward pass.
double products_of_both_passes(const planning::Device& device, double rows, double outputs,
                               double inputs) {
  const auto product = [&](Form form, double m, double n, double k) {
    return planning::product_seconds_of(device, "fp32", form, m, n, k);
  };
  return product(Form::nt, rows, outputs, inputs) + product(Form::nn, rows, inputs, outputs) +
         product(Form::tn, outputs, inputs, rows);
}

// An all-reduce of so many floats over all ranks.
double sum_seconds(const planning::Cluster& cluster, const Communicator& world, double floats) {
  return planning::Prices(cluster).collective(Operation::all_reduce, sizeof(float) * floats,
                                              Group{world.size(), 1});
}

// An MLP divided over all ranks, forward and backward.
void check_mlp(const CheckContext& context, Index rows, Index width) {
  const Communicator& world = context.world;
  const Index inner = block_of(4 * width, world.size(), world.rank()).size;
  const kernels::ColumnParallelLinear up(world, width, inner, kernels::Precision::fp32);
  const kernels::RowParallelLinear down(world, inner, width, kernels::Precision::fp32);
  const Buffer<float> x(rows * width), first(inner * width), second(inner * width),
      before(rows * inner), after(rows * inner), dinner(rows * inner), dfirst(inner * width),
      dsecond(inner * width);
  const Buffer<float> y(rows * width, Memory::node_shared), dx(rows * width, Memory::node_shared);
  for (const Buffer<float>* buffer : {&x, &first, &second}) {
    for (Index i = 0; i < buffer->size(); ++i) (*buffer)[i] = 1e-2f * static_cast<float>(i % 13 - 6);
  }
  const auto both_passes = [&] {
    up.forward(rows, x.data(), first.data(), nullptr, before.data());
    kernels::bias_gelu_forward(rows, inner, before.data(), nullptr, after.data());
    down.forward(rows, after.data(), second.data(), nullptr, y.data());
    down.backward(rows, after.data(), second.data(), y.data(), dinner.data(), dsecond.data(),
                  nullptr, kernels::Gradients::overwrite);
    kernels::gelu_backward(rows * inner, before.data(), dinner.data(), dinner.data());
    up.backward(rows, x.data(), first.data(), dinner.data(), dx.data(), dfirst.data(), nullptr,
                kernels::Gradients::overwrite);
  };
  const auto predict = [&](const planning::Cluster& cluster) {
    const planning::Device& device = cluster.device;
    const auto r = static_cast<double>(rows), w = static_cast<double>(width),
               i = static_cast<double>(inner);
    return products_of_both_passes(device, r, i, w) + products_of_both_passes(device, r, w, i) +
           planning::stream_seconds_of(device, "bias_gelu", r, i) +
           planning::stream_seconds_of(device, "gelu_backward", r, i) +
           2 * sum_seconds(cluster, world, r * w);
  };
  context.add(
      "layer", fmt::format("MLP of width {}, {} rows, tp={}", width, rows, world.size()), false,
      Hangs::on_products_and_streams, [&] { return slowest(world, both_passes); }, predict);
}

// Attention with its projections, divided by heads.
void check_attention(const CheckContext& context, Index batch, Index time, Index width, Index heads) {
  const Communicator& world = context.world;
  if (heads % world.size() != 0) return;
  const kernels::HeadParallelAttention layer(world, width, heads, kernels::Precision::fp32);
  const Index rows = batch * time, mine = layer.local_heads() * layer.head_dim();
  const Buffer<float> x(rows * width), qkv_weight(3 * mine * width), proj_weight(mine * width),
      qkv(3 * rows * mine), attended(rows * mine), sums(batch * layer.local_heads() * time),
      dqkv_weight(3 * mine * width), dproj_weight(mine * width), dqkv(3 * rows * mine),
      dattended(rows * mine);
  const Buffer<float> y(rows * width, Memory::node_shared), dx(rows * width, Memory::node_shared);
  for (const Buffer<float>* buffer : {&x, &qkv_weight, &proj_weight}) {
    for (Index i = 0; i < buffer->size(); ++i) (*buffer)[i] = 1e-2f * static_cast<float>(i % 13 - 6);
  }
  const auto both_passes = [&] {
    layer.forward(batch, time, x.data(), {qkv_weight.data(), nullptr, proj_weight.data(), nullptr},
                  {qkv.data(), attended.data(), sums.data()}, y.data(), {}, 0);
    layer.backward(batch, time, x.data(), {qkv_weight.data(), nullptr, proj_weight.data(), nullptr},
                   {qkv.data(), attended.data(), sums.data()}, y.data(), dx.data(),
                   {dqkv_weight.data(), nullptr, dproj_weight.data(), nullptr}, dqkv.data(),
                   dattended.data(), {}, 0, kernels::Gradients::overwrite);
  };
  const auto predict = [&](const planning::Cluster& cluster) {
    const planning::Device& device = cluster.device;
    const auto r = static_cast<double>(rows), w = static_cast<double>(width),
               h = static_cast<double>(mine);
    const auto core = [&](bool backward) {
      return planning::attention_seconds_of(
          device, "fp32", backward, static_cast<double>(batch * layer.local_heads()),
          static_cast<double>(time), static_cast<double>(layer.head_dim()));
    };
    return products_of_both_passes(device, r, 3 * h, w) + products_of_both_passes(device, r, w, h) +
           core(false) + core(true) + 2 * sum_seconds(cluster, world, r * w);
  };
  context.add(
      "layer",
      fmt::format("attention of width {}, {} x {} tokens, tp={}", width, batch, time, world.size()),
      false, Hangs::on_products_and_streams, [&] { return slowest(world, both_passes); }, predict);
}

}  // namespace

void check_collectives(const CheckContext& context) {
  const Communicator& world = context.world;
  if (world.size() < 2) return;
  // Of each operation a size that the profile has on one node, and one between two of them.
  const CollectiveCase cases[] = {
      {Operation::all_reduce, 1024},          {Operation::all_reduce, 24000},
      {Operation::all_reduce, 65536},         {Operation::all_reduce, 1500000},
      {Operation::all_reduce, 4194304},       {Operation::all_reduce, 12000000},
      {Operation::reduce_scatter, 262144},    {Operation::reduce_scatter, 2000000},
      {Operation::all_gather, 262144},        {Operation::all_gather, 2000000},
      {Operation::broadcast, 65536},          {Operation::broadcast, 1000000},
      {Operation::all_to_all, 65536},         {Operation::all_to_all, 1000000}};
  for (const CollectiveCase& each : cases) check_collective(context, world, each);
  if (world.size() < 4 || world.size() % 2 != 0) return;
  const int half = world.size() / 2;
  const Communicator group = world.split(world.rank() / half, world.rank(), "half");
  check_collective(context, group, {Operation::all_reduce, 65536});
  check_collective(context, group, {Operation::all_reduce, 1500000});
}

void check_layers(const CheckContext& context) {
  const Sampler sampler(context.world, part_budget);
  check_product(context, sampler, "fp32", Form::nt, 256, 512, 128);
  check_product(context, sampler, "fp32", Form::nt, 192, 1536, 384);
  check_product(context, sampler, "fp32", Form::nn, 768, 192, 320);
  check_product(context, sampler, "fp32", Form::tn, 700, 300, 200);
  check_product(context, sampler, "bf16", Form::nt, 512, 512, 512);
  check_product(context, sampler, "bf16", Form::nt, 384, 1152, 768);
  check_mlp(context, 384, 320);
  check_attention(context, 4, 192, 384, 8);
}

}  // namespace shoal::bench
