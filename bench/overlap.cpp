#include "overlap.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/placement.hpp>

#include "timing.hpp"

namespace shoal::bench {
namespace {

double milliseconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

double agreed(const Communicator& world, double value, ReduceOp op) {
  all_reduce(world, &value, &value, 1, DType::f64, op);
  return value;
}

// Of the slowest rank.
double milliseconds_of_all(const Communicator& world, const std::function<void()>& work) {
  barrier(world);
  return agreed(world, milliseconds(work), ReduceOp::max);
}

}  // namespace

Overlap measure_overlap(const Communicator& world, models::Trainer& trainer,
                        const models::TrainOptions& options, const models::Dataset& data, int rounds) {
  models::Gpt& model = trainer.model();
  const Communicator& replicas = model.mesh().axis("dp");
  const Block share = block_of(options.batch_size, replicas.size(), replicas.rank());
  const Index time = options.model.block_size;
  // What is learnt does not matter: all micro-batches are the same.
  std::vector<std::int32_t> inputs(static_cast<std::size_t>(share.size * time)), targets(inputs.size());
  for (Index row = 0; row < share.size; ++row) {
    data.sequence({models::Split::train, options.seed, 0, static_cast<std::uint64_t>(share.begin + row)},
                  inputs.data() + row * time, targets.data() + row * time);
  }
  const std::vector<models::TokenBatch> batches(
      static_cast<std::size_t>(options.grad_accum),
      {share.size, time, inputs.data(), targets.data(), share.begin});
  const double scale =
      1.0 / static_cast<double>(options.grad_accum * options.batch_size * options.model.block_size);
  const auto pass = [&](bool sums) {
    model.zero_gradients();
    model.accumulate_gradients(batches, scale, options.seed, 0, sums);
  };
  const auto update = [&] { trainer.optimizer().step(0); };
  const auto sum = [&] { model.reduce_gradients(); };

  std::vector<double> with, without, alone, exposed;
  for (int round = 0; round <= rounds; ++round) {
    double left = 0;
    const double summed = milliseconds_of_all(world, [&] {
      pass(true);
      left = milliseconds(sum);
      update();
    });
    // Who ends first waits for the others, too; the last one for the sum only.
    left = agreed(world, left, ReduceOp::min);
    const double apart = milliseconds_of_all(world, [&] {
      pass(false);
      update();
    });
    const double nothing_beside = milliseconds_of_all(world, sum);
    if (round == 0) continue;
    with.push_back(summed);
    without.push_back(apart);
    alone.push_back(nothing_beside);
    exposed.push_back(left);
  }
  return {median(with), median(without), median(alone), median(exposed)};
}

}  // namespace shoal::bench
