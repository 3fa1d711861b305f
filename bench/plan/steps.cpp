// Whole training steps on every mesh, measured and planned.
#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/models/trainer.hpp>
#include <shoal/planning/gpt.hpp>

#include "plan/check.hpp"
#include "timing.hpp"
#include "train_configs.hpp"

namespace shoal::bench {
namespace {

// Steps of a mesh in one try, until they have taken so long, in seconds.
constexpr double step_budget = 2;
constexpr int fewest_steps = 8;  // a quartile of fewer hangs on one of them

models::TrainOptions options_of(const TrainConfig& config, const std::string& type) {
  models::TrainOptions options;
  options.model = config.model;
  options.model.precision = train_precision(type);
  options.batch_size = config.batch_size;
  options.eval_interval = 0;
  options.max_iters = config.warm_up + config.steps;
  options.learning_rate.warmup_steps = 0;
  return options;
}

// Lower quartile over steps of the slowest rank's seconds.
double step_seconds(const Communicator& world, const MeshShape& shape,
                    const models::TrainOptions& options, int warm_up) {
  const Mesh mesh(world, shape);
  const models::Dataset data = random_tokens(options.model);
  models::Trainer trainer(options, mesh, data);
  std::vector<double> times(static_cast<std::size_t>(options.max_iters), 0.0);
  models::Trainer::Callbacks callbacks;
  double spent = 0;
  int timed = 0;
  callbacks.on_step = [&](const models::StepReport& report) {
    if (report.step < warm_up || !report.loss) return;
    times[static_cast<std::size_t>(timed++)] = report.step_ms * 1e-3;
    spent += report.step_ms * 1e-3;
  };
  callbacks.should_stop = [&] { return spent > step_budget && timed >= fewest_steps; };
  trainer.run(callbacks);
  all_reduce(world, times.data(), times.data(), static_cast<Index>(times.size()), DType::f64,
             ReduceOp::max);
  times.resize(static_cast<std::size_t>(timed));
  return lower_quartile(times);
}

// Of the meshes that were priced, what this one takes.
double seconds_of(const std::vector<planning::PricedMesh>& meshes, const MeshShape& mesh) {
  const auto found = std::find_if(
      meshes.begin(), meshes.end(),
      [&](const planning::PricedMesh& each) { return each.mesh.text() == mesh.text(); });
  return found == meshes.end() ? 0 : found->estimate.seconds;
}

}  // namespace

void check_steps(const CheckContext& context, std::vector<PlanCheck::Choice>& choices) {
  const planning::Software software = planning::find_software("shoal");
  for (const std::string& name : context.options.models) {
    const TrainConfig& config = train_config(name);
    for (const std::string& type : context.options.types) {
      const models::TrainOptions options = options_of(config, type);
      // The same on all ranks, which go through them in this order.
      const std::vector<planning::PricedMesh> meshes =
          planning::price_meshes(options, software, context.cluster, context.world.size());
      PlanCheck::Choice choice;
      choice.model = name + " " + type;
      double least_predicted = 0;
      for (const planning::PricedMesh& each : meshes) {
        if (options.batch_size % each.mesh.size_of("dp") != 0 || !each.estimate.fits) continue;
        context.add(
            "step", fmt::format("{} {}, {}", name, type, each.mesh.text()), false,
            Hangs::on_products_and_streams,
            [&] { return step_seconds(context.world, each.mesh, options, config.warm_up); },
            [&](const planning::Cluster& cluster) {
              return seconds_of(
                  planning::price_meshes(options, software, cluster, context.world.size()),
                  each.mesh);
            });
        if (!context.turn.last) continue;
        const PlanCheck::Row& row = context.rows[context.turn.next - 1];
        const double counted = row.measured;
        if (choice.planned.empty() || row.predicted < least_predicted) {
          choice.planned = each.mesh.text();
          choice.planned_seconds = counted;
          least_predicted = row.predicted;
        }
        if (choice.best.empty() || counted < choice.best_seconds) {
          choice.best = each.mesh.text();
          choice.best_seconds = counted;
        }
        if (context.options.explain && context.world.rank() == 0) {
          for (const std::string& line : each.estimate.steps) fmt::print("    {}\n", line);
        }
      }
      if (!choice.best.empty()) choices.push_back(std::move(choice));
    }
  }
}

}  // namespace shoal::bench
