#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/kernels/local/random.hpp>
#include <shoal/models/transformer_block.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/trace.hpp>

#include "layer_kernels.hpp"
#include "one_process.hpp"
#include "peak.hpp"
#include "report.hpp"
#include "timing.hpp"
#include "torch_layer.hpp"
#include "train_configs.hpp"

namespace shoal::bench {
namespace {

constexpr std::uint64_t layer_seed = 1337;

kernels::Activations activations_of(const std::string& name) {
  if (name == "whole") return kernels::Activations::whole;
  if (name == "by_rows") return kernels::Activations::by_rows;
  throw UsageError("bench layer", "--activations is \"" + name + "\"", "choose whole or by_rows");
}

// A block over a group of ranks, with the input and the output's gradient of the rows it has.
class LayerCase {
 public:
  LayerCase(const LayerShape& shape, const Communicator& tp, Block sequences,
            kernels::Activations activations)
      : block_(config_of(shape), tp, sequences.size, shape.sequence, layer_seed, activations),
        size_(block_.rows().size * shape.width),
        input_(size_),
        output_(size_),
        output_gradient_(size_),
        gradient_(std::max<Index>(1, size_), Memory::node_shared) {
    const Index first = (sequences.begin * shape.sequence + block_.rows().begin) * shape.width;
    // Normal deviates by place, so that each rank draws what one process would have there.
    const kernels::RandomKey inputs{layer_seed, 1, 0}, gradients{layer_seed, 1, 1};
    kernels::normal(inputs, static_cast<std::uint64_t>(first), size_, 0, 1, input_.data());
    kernels::normal(gradients, static_cast<std::uint64_t>(first), size_, 0, 1,
                    output_gradient_.data());
  }

  void run(const Communicator* dp) {
    block_.parameters();  // as after a step, which changes them
    block_.forward(input_.data(), output_.data());
    std::copy(output_gradient_.begin(), output_gradient_.end(), gradient_.begin());
    block_.backward(gradient_.data());
    if (dp == nullptr || dp->size() == 1) return;
    all_reduce(*dp, block_.gradients(), ReduceOp::sum);
  }

  // Root of the mean square of the difference of output and input's gradient, over that of `whole`'s
  // first rows; for the rank whose rows are the first.
  double difference(const LayerCase& whole) const {
    double squares = 0, reference = 0;
    for (const auto& [mine, theirs] : {std::pair{&output_, &whole.output_},
                                       std::pair{&gradient_, &whole.gradient_}}) {
      for (Index i = 0; i < size_; ++i) {
        const double expected = (*theirs)[i], error = (*mine)[i] - expected;
        squares += error * error;
        reference += expected * expected;
      }
    }
    return std::sqrt(squares / reference);
  }

 private:
  static models::GptConfig config_of(const LayerShape& shape) {
    models::GptConfig config;
    config.width = shape.width;
    config.heads = shape.heads;
    config.precision = train_precision(shape.type);
    return config;
  }

  models::TransformerBlock block_;
  Index size_;
  Buffer<float> input_, output_, output_gradient_, gradient_;
};

struct LayerTimes {
  double ranks = 0, process = 0;  // seconds of forward and backward
  double waiting = 0;   // in communication, of the rank that is least in it
  double alone = 0;     // the sums over tp as all-reduces, nothing beside them
};

// As in the block: four sums of its activations, where there is more than one rank. Each in a buffer that
// has not been touched for so long that it has left the cores' own caches, as a product leaves most of it.
double sums_alone(const Communicator& world, const Communicator& tp, Index count) {
  if (tp.size() == 1) return 0;
  constexpr Index in_turns = 8;
  const Buffer<float> sums(in_turns * count, Memory::node_shared);
  Index turn = 0;
  const std::function<void()> call = [&] {
    for (int i = 0; i < 4; ++i, turn = (turn + 1) % in_turns) {
      float* const sum = sums.data() + turn * count;
      all_reduce(tp, sum, sum, count, DType::f32, ReduceOp::sum);
    }
  };
  return interleaved_medians(world, std::span(&call, 1), 0.2, 5, 1)[0];
}

LayerTimes measure_layer(const Communicator& world, const Mesh& mesh, const OneProcess& one,
                         const LayerShape& shape, kernels::Activations activations, int rounds) {
  const Communicator& dp = mesh.axis("dp");
  const Communicator& tp = mesh.axis("tp");
  const Block sequences = block_of(shape.batch, dp.size(), dp.rank());
  LayerCase ours(shape, tp, sequences, activations);
  const Communicator self = world.split(world.rank(), 0, "self");
  std::optional<LayerCase> whole;
  if (world.rank() == 0) {
    whole.emplace(shape, self, Block{0, shape.batch}, kernels::Activations::whole);
  }
  std::vector<double> by_ranks, by_one, waiting;
  for (int round = -1; round < rounds; ++round) {  // the first one warms up
    ours.run(&dp);  // so that it finds the caches as it leaves them
    barrier(world);
    const Seconds before = trace::communication_time();
    const auto start = std::chrono::steady_clock::now();
    ours.run(&dp);
    double spent[2] = {
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
        -(trace::communication_time() - before).count()};  // the least is the greatest
    all_reduce(world, spent, spent, 2, DType::f64, ReduceOp::max);
    const double process = one.run([&] { whole->run(nullptr); }, 1);
    if (round < 0) continue;
    by_ranks.push_back(spent[0]);
    waiting.push_back(-spent[1]);
    by_one.push_back(process);
  }
  if (whole) {
    // Sums of up to 4·width products in two orders differ by some sqrt of as many roundings, and eight
    // products come one after the other. In bf16 a last digit of an operand may turn, once in a while.
    const double rounding = shape.type == "bf16" ? 0x1p-8 : 0x1p-24;
    const double allowed =
        8 * rounding * (shape.type == "bf16" ? 1 : std::sqrt(4.0 * static_cast<double>(shape.width)));
    const double difference = ours.difference(*whole);
    if (!(difference <= allowed)) {
      throw Error("bench layer",
                  fmt::format("output and gradient are {:.2g} off one process's, relative; {:.2g} "
                              "would be rounding",
                              difference, allowed),
                  "report this");
    }
  }
  LayerTimes times;
  times.ranks = median(by_ranks);
  times.process = median(by_one);
  times.waiting = median(waiting);
  times.alone = sums_alone(world, tp, sequences.size * shape.sequence * shape.width);
  return times;
}

// Forward and backward, each product's additions and multiplications. Attention: two products forward and
// five backward, over the keys up to a query's own.
double layer_operations(const LayerShape& shape) {
  const auto tokens = static_cast<double>(shape.batch * shape.sequence);
  const auto width = static_cast<double>(shape.width);
  return tokens * (72 * width * width + 7 * width * static_cast<double>(shape.sequence + 1));
}

void print_kernels(const std::vector<KernelTime>& times, double block_seconds, Report& report,
                   const LayerShape& shape, bool speaks) {
  if (speaks) {
    fmt::print("  {:<30} {:>5} {:>9} {:>9} {:>7} {:>11} {:>9} {:>9}\n", "kernel, one rank", "calls",
               "us a call", "GFLOP/s", "GB/s", "bound", "of bound", "of block");
  }
  double sum = 0;
  for (const KernelTime& kernel : times) {
    sum += kernel.calls * kernel.seconds;
    if (speaks) {
      fmt::print("  {:<30} {:>5} {:>9.1f} {:>9.1f} {:>7.1f} {:>11} {:>8.0f}% {:>8.1f}%\n", kernel.name,
                 kernel.calls, kernel.seconds * 1e6, kernel.operations / kernel.seconds * 1e-9,
                 kernel.bytes / kernel.seconds * 1e-9, kernel.arithmetic ? "arithmetic" : "bytes",
                 100 * kernel.bound / kernel.seconds,
                 100 * kernel.calls * kernel.seconds / block_seconds);
    }
    Row row;
    row.op = "kernel";
    row.shape = fmt::format("{}: width {}", kernel.name, shape.width);
    row.algorithm = "auto";
    row.median_us = kernel.seconds * 1e6;
    row.bound_us = kernel.bound * 1e6;
    row.more = {{"calls", static_cast<double>(kernel.calls)},
                {"gflops", kernel.operations / kernel.seconds * 1e-9},
                {"gb_per_s", kernel.bytes / kernel.seconds * 1e-9},
                {"share_of_block", kernel.calls * kernel.seconds / block_seconds}};
    row.notes = {{"dtype", shape.type}, {"bound", kernel.arithmetic ? "arithmetic" : "bytes"}};
    report.add(std::move(row));
  }
  if (speaks) {
    fmt::print("  {:<30} {:>5} {:>9.1f} {:>58.1f}%\n\n", "sum", "", sum * 1e6,
               100 * sum / block_seconds);
    std::fflush(stdout);
  }
}

void check_layer(const LayerOptions& options) {
  for (const std::string& type : options.types) train_precision(type);
  activations_of(options.activations);
  for (const auto& [name, value] : {std::pair{"--batch", options.batch},
                                    std::pair{"--sequence", options.sequence},
                                    std::pair{"--rounds", Index{options.rounds}}}) {
    if (value < 1) throw UsageError("bench layer", std::string(name) + " must be 1 or more");
  }
  if (options.batch < options.mesh.size_of("dp")) {
    throw UsageError("bench layer",
                     fmt::format("--batch {} does not divide over dp={}", options.batch,
                                 options.mesh.size_of("dp")),
                     "give each dp rank a sequence");
  }
}

}  // namespace

void layer(const Communicator& world, const LayerOptions& options) {
  check_layer(options);
  const kernels::Activations activations = activations_of(options.activations);
  Report report(world, options.json);
  const Mesh mesh(world, options.mesh);
  const OneProcess one(world);
  const TorchLayer torch(world, one, options.peer);
  const bool speaks = world.rank() == 0;
  if (speaks) {
    fmt::print("a transformer block, forward and backward, {} x {} tokens, mesh {}, activations {}; "
               "E: speed over that\nof one process with {} threads\n",
               options.batch, options.sequence, options.mesh.text(), options.activations,
               one.threads());
    fmt::print("{:<5} {:>6} {:>9} {:>9} {:>8} {:>11} {:>6} {:>8} {:>8} {:>7} {:>9}{}\n", "dtype", "width",
               "ranks ms", "GFLOP/s", "of peak", "process ms", "E", "comm ms", "sums ms", "hidden",
               "bound ms",
               torch.version().empty() ? "" : "  PyTorch ms");
  }
  for (const std::string& type : options.types) {
    barrier(world);
    const double own_peak = peak_gflops(type);
    double peak = own_peak;
    all_reduce(world, &peak, &peak, 1, DType::f64, ReduceOp::sum);
    for (const Index width : options.widths) {
      const Index heads = options.heads > 0 ? options.heads : std::max<Index>(1, width / 64);
      const LayerShape shape{width, heads, options.batch, options.sequence, type};
      const std::optional<double> theirs = torch.seconds(shape, 2);
      const LayerTimes times =
          measure_layer(world, mesh, one, shape, activations, options.rounds);
      const double operations = layer_operations(shape);
      const double bound = operations / peak * 1e-9;
      // Ranks that wait for each other are longer in communication than it takes by itself.
      const double hidden =
          times.alone > 0 ? std::max(0.0, 1 - times.waiting / times.alone) : 0;
      if (speaks) {
        fmt::print("{:<5} {:>6} {:>9.2f} {:>9.1f} {:>7.0f}% {:>11.2f} {:>6.3f} {:>8.2f} {:>8.2f} {:>6.0f}% "
                   "{:>9.2f}{}\n",
                   type, width, times.ranks * 1e3, operations / times.ranks * 1e-9,
                   100 * bound / times.ranks, times.process * 1e3, times.process / times.ranks,
                   times.waiting * 1e3, times.alone * 1e3, 100 * hidden, bound * 1e3,
                   theirs ? fmt::format("  {:>10.2f}", *theirs * 1e3) : "");
        std::fflush(stdout);
      }
      Row row;
      row.op = "layer";
      row.shape = fmt::format("width {}, {} heads, {} x {}", width, heads, options.batch,
                              options.sequence);
      row.algorithm = options.mesh.text() + ", " + options.activations;
      row.median_us = times.ranks * 1e6;
      if (theirs) {
        row.peer = "PyTorch " + torch.version();
        row.peer_us = *theirs * 1e6;
      }
      row.bound_us = bound * 1e6;
      row.more = {{"gflops", operations / times.ranks * 1e-9},
                  {"peak_gflops", peak},
                  {"share_of_peak", bound / times.ranks},
                  {"process_us", times.process * 1e6},
                  {"e", times.process / times.ranks},
                  {"communication_us", times.waiting * 1e6},
                  {"sums_alone_us", times.alone * 1e6},
                  {"hidden_share", hidden},
                  {"threads", static_cast<double>(one.threads())}};
      row.notes = {{"dtype", type}};
      report.add(std::move(row));
      if (!options.kernels) continue;
      LayerShape share = shape;
      share.batch = block_of(shape.batch, mesh.axis("dp").size(), mesh.axis("dp").rank()).size;
      print_kernels(layer_kernels(world, mesh.axis("tp"), share, activations, own_peak,
                                  0.02 * options.rounds),
                    times.ranks, report, shape, speaks);
    }
    if (speaks) {
      fmt::print("Bound: the arithmetic at {:.0f} GFLOP/s, the best of a loop in registers and a "
                 "large {} product on all ranks\nat once. comm: time in communication of the rank "
                 "that is least in it, waiting for others included;\nsums: the four sums of "
                 "activations by themselves; hidden: what comm lacks of these.\n\n",
                 peak, type);
    }
  }
  report.write();
}

}  // namespace shoal::bench
